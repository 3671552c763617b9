/** Remembers the newest version seen of each object, so that a late or doubled hint changes nothing. */

/** Objects remembered; the oldest are forgotten first. A forgotten object only costs one needless refresh. */
const REMEMBERED = 20_000;

export class VersionGate {
  private readonly newest = new Map<string, number>();

  /** True, and remembered, when `version` is newer than any seen of `key`; false for older and equal ones. */
  accepts(key: string, version: number): boolean {
    const known = this.newest.get(key);
    if (known !== undefined && version <= known) return false;
    this.newest.delete(key);
    this.newest.set(key, version);
    if (this.newest.size > REMEMBERED) {
      const oldest = this.newest.keys().next().value;
      if (oldest !== undefined) this.newest.delete(oldest);
    }
    return true;
  }

  /** Forget everything: after a reconnect the cache is read anew. */
  clear(): void {
    this.newest.clear();
  }
}
