"""What a person sees of runs: the report page, its figures, the doctor, tables, comparisons."""
