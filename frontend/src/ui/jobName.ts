/** A job's name as people type it: a task of an array with its index. */
export function jobName({ name, index }: { name: string; index: number | null }): string {
  return index === null ? name : `${name}[${index}]`;
}
