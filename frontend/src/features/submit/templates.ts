/** Where one starts from. Chip types are filled in from what the cluster has. */

export type Template = { key: string; yaml: (team: string, chip: string) => string };

export const TEMPLATES: readonly Template[] = [
  {
    key: "cpu",
    yaml: (team) => `name: hello
team: ${team}
commands:
  - echo "Hello from $(hostname)"
resources:
  cpus: 1
  memory: 1GB
`,
  },
  {
    key: "one",
    yaml: (team, chip) => `name: train
team: ${team}
commands:
  - python train.py
resources:
  accelerators: ${chip}:1
`,
  },
  {
    key: "slice",
    yaml: (team, chip) => `name: notebook-slice
team: ${team}
commands:
  - python explore.py
resources:
  accelerators: ${chip}:1
  fraction: 0.5
`,
  },
  {
    key: "gang",
    yaml: (team, chip) => `name: distributed
team: ${team}
nodes: 2
commands:
  - torchrun --nnodes $NNODES --node-rank $NODE_RANK --master-addr $MASTER_ADDR train.py
resources:
  accelerators: ${chip}:1
spread: false
`,
  },
  {
    key: "array",
    yaml: (team, chip) => `name: sweep
team: ${team}
array: 0-9%4   # ten tasks, four at once
commands:
  - python train.py --seed $FLEXAI_ARRAY_INDEX
resources:
  accelerators: ${chip}:1
`,
  },
];
