/**
 * The one browser socket: topics multiplexed, resubscribed after a reconnect, gaps told to whoever listens.
 * A message is a hint; losing one costs a refresh, never a wrong page.
 */

export type Hint = {
  seq: number;
  topic: string;
  id: string;
  version: number;
  kind: string;
  data?: unknown;
};

export type ConnectionState = "connecting" | "live" | "reconnecting" | "polling";
/** `since`: when this state began, in milliseconds since the epoch. */
export type Connection = { state: ConnectionState; since: number };

type Listener = (hint: Hint) => void;

/** What the socket needs of the world; tests hand in their own. */
export type SocketWorld = {
  open: () => WebSocket;
  now: () => number;
  later: (action: () => void, delay_ms: number) => unknown;
};

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 15_000;
const ASK_AGAIN_MS = 15_000;
/** Refused this often without ever having been live, the socket counts as blocked and pages poll. */
const REFUSALS_UNTIL_POLLING = 3;

export class LiveSocket {
  private readonly topics = new Map<string, Set<Listener>>();
  private readonly gapListeners = new Set<() => void>();
  private readonly watchers = new Set<() => void>();
  private connection: Connection;
  private socket: WebSocket | null = null;
  private lastSeq: number | null = null;
  private failures = 0;
  private wasLive = false;
  private wanted = false;

  constructor(private readonly world: SocketWorld) {
    this.connection = { state: "connecting", since: world.now() };
  }

  /** Connect, and stay connected until `stop`. */
  start(): void {
    if (this.wanted) return;
    this.wanted = true;
    this.connect();
  }

  /** Close, and stay closed until `start`. */
  stop(): void {
    this.wanted = false;
    this.wasLive = false;
    this.failures = 0;
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.move("connecting");
  }

  /** Hear the hints of `topic`; the answer stops it. The server is told once per topic, however many listen. */
  subscribe(topic: string, listener: Listener): () => void {
    const listeners = this.topics.get(topic) ?? new Set<Listener>();
    listeners.add(listener);
    if (!this.topics.has(topic)) {
      this.topics.set(topic, listeners);
      this.send({ subscribe: [topic] });
    }
    return () => {
      if (!listeners.delete(listener) || listeners.size > 0) return;
      this.topics.delete(topic);
      this.send({ unsubscribe: [topic] });
    };
  }

  /** Called after every reconnect and every missing message: what was read before may be stale. */
  onGap(listener: () => void): () => void {
    this.gapListeners.add(listener);
    return () => this.gapListeners.delete(listener);
  }

  getConnection = (): Connection => this.connection;

  watchConnection = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  private connect(): void {
    if (!this.wanted) return;
    const socket = this.world.open();
    this.socket = socket;
    socket.onopen = () => socket === this.socket && this.opened();
    socket.onmessage = (message) => socket === this.socket && this.received(message.data);
    socket.onclose = () => socket === this.socket && this.closed();
  }

  private opened(): void {
    this.failures = 0;
    this.lastSeq = null;
    this.move("live");
    if (this.topics.size > 0) this.send({ subscribe: [...this.topics.keys()] });
    if (this.wasLive) this.tellGap();
    this.wasLive = true;
  }

  private received(raw: unknown): void {
    const hint = readHint(raw);
    if (!hint) return;
    const missed = this.lastSeq !== null && hint.seq !== this.lastSeq + 1;
    this.lastSeq = hint.seq;
    if (missed) this.tellGap();
    if (hint.kind === "refused") this.askAgain(hint.topic);
    for (const listener of this.topics.get(hint.topic) ?? []) listener(hint);
  }

  /** A topic can be refused because the server could not look: ask again, for as long as somebody listens. */
  private askAgain(topic: string): void {
    this.world.later(() => this.topics.has(topic) && this.send({ subscribe: [topic] }), ASK_AGAIN_MS);
  }

  private closed(): void {
    this.socket = null;
    if (!this.wanted) return;
    this.failures += 1;
    const blocked = !this.wasLive && this.failures >= REFUSALS_UNTIL_POLLING;
    this.move(blocked ? "polling" : this.wasLive ? "reconnecting" : "connecting");
    const delay_ms = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1));
    this.world.later(() => this.connect(), delay_ms);
  }

  private send(message: object): void {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  private tellGap(): void {
    for (const listener of this.gapListeners) listener();
  }

  private move(state: ConnectionState): void {
    if (state === this.connection.state) return;
    this.connection = { state, since: this.world.now() };
    for (const watcher of this.watchers) watcher();
  }
}

/** The hint in a frame; null for anything else (an error of the server, a later protocol). */
export function readHint(raw: unknown): Hint | null {
  if (typeof raw !== "string") return null;
  try {
    const value: unknown = JSON.parse(raw);
    if (typeof value !== "object" || value === null) return null;
    const hint = value as Partial<Hint>;
    if (typeof hint.seq !== "number" || typeof hint.topic !== "string" || typeof hint.kind !== "string")
      return null;
    return { ...hint, id: String(hint.id ?? ""), version: Number(hint.version ?? 0) } as Hint;
  } catch {
    return null;
  }
}

function address(): string {
  const { protocol, host } = globalThis.location;
  return `${protocol === "https:" ? "wss" : "ws"}://${host}/ws/v1`;
}

export const live = new LiveSocket({
  open: () => new WebSocket(address()),
  now: () => Date.now(),
  later: (action, delay_ms) => setTimeout(action, delay_ms),
});
