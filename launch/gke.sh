#!/usr/bin/env bash
# A run on a TPU slice of a GKE cluster: a JobSet with one pod for each TPU host.
#
#   launch/gke.sh NAME v5e:4x4 IMAGE CLAIM -- run experiments/gsm8k_grpo.py --set data=/data/gsm8k/1.0.0
#
# The slice is named as for sirl plan. IMAGE has the checkout in /sirl and `sirl` on its PATH. CLAIM is a volume claim that
# all pods can write; it is /data there, and its folder runs is /sirl/runs. The cluster needs JobSet 0.6 or newer.
# When a pod is lost all are started again and the run resumes. Exit code 3 ends the JobSet: the run waits for an answer.
# To run the same line again: kubectl delete jobset NAME.
set -euo pipefail
# shellcheck source=launch/shared.sh
source "$(dirname "$0")/shared.sh"

read_arguments '[--dry-run] NAME CHIP:TOPOLOGY IMAGE CLAIM' 4 4 "$@"
name=${given[0]} slice=${given[1]} image=${given[2]} claim=${given[3]}
[[ $name =~ ^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$ ]] ||
  fail 2 "NAME $name: expected at most 40 small letters, digits and dashes, and a letter first"

# Accelerators and topologies of four chips a host: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
chip=${slice%%:*} topology=${slice#*:}
case $chip in
  v5e) accelerator=tpu-v5-lite-podslice topologies='2x2 2x4 4x4 4x8 8x8 8x16 16x16' ;;
  v6e) accelerator=tpu-v6e-slice topologies='2x2 2x4 4x4 4x8 8x8 8x16 16x16' ;;
  v5p)
    accelerator=tpu-v5p-slice
    topologies='2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8 8x8x16 8x16x16 16x16x16 16x16x24'
    ;;
  *) fail 2 "no TPU $chip; expected v5e, v5p or v6e with a topology, such as v5e:4x4" ;;
esac

chips() { # of a topology: 4x4 has 16
  echo $((${1//x/*}))
}

if [[ ! $topology =~ ^[1-9][0-9]?(x[1-9][0-9]?)*$ || " $topologies " != *" $topology "* ]]; then
  [[ $topology =~ ^[1-9][0-9]?(x[1-9][0-9]?)*$ ]] && wanted=$(chips "$topology") || wanted=4
  for each in $topologies; do
    away=$(($(chips "$each") - wanted))
    if [[ -z ${nearest-} ]] || ((${away#-} < least)); then nearest=$each least=${away#-}; fi
  done
  fail 2 "GKE has no slice $slice; the nearest is $chip:$nearest, of $topologies"
fi
hosts=$(($(chips "$topology") / 4))
((hosts == 1)) || line+=(--distributed)

# Kubernetes reads $(NAME) in args as a variable and $$ as a dollar sign.
manifest() {
  cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $(string "$name")
  annotations:
    alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool # all pods on one slice
spec:
  failurePolicy:
    maxRestarts: 100
    rules:
      - name: waitsForAnswer
        action: FailJobSet
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: slice
      replicas: 1
      template:
        spec:
          completionMode: Indexed # GKE then tells every pod its number and the names of the others
          completions: $hosts
          parallelism: $hosts
          backoffLimit: 0 # a lost pod restarts them all
          podFailurePolicy:
            rules:
              - action: FailJob
                onExitCodes:
                  containerName: sirl
                  operator: In
                  values: [3]
          template:
            spec:
              restartPolicy: Never
              nodeSelector:
                cloud.google.com/gke-tpu-accelerator: $accelerator
                cloud.google.com/gke-tpu-topology: $topology
              containers:
                - name: sirl
                  image: $(string "$image")
                  workingDir: /sirl
                  command: [sirl]
                  args: $(listed "${line[@]//\$/\$\$}")
                  ports:
                    - containerPort: 8471 # between the TPU runtimes
                    - containerPort: 8482 # JAX's coordinator
                  resources:
                    requests:
                      google.com/tpu: 4
                    limits:
                      google.com/tpu: 4
                  volumeMounts:
                    - name: data
                      mountPath: /data
                    - name: data
                      mountPath: /sirl/runs
                      subPath: runs
              volumes:
                - name: data
                  persistentVolumeClaim:
                    claimName: $(string "$claim")
END
}

if ((dry)); then
  manifest
  exit
fi
needs kubectl
manifest | kubectl apply -f -
