"""Training under watch: its steps are noted as they are made, and one that fails is made again."""
