/** A browser socket that a test, or the mock, speaks through. */

export class FakeSocket {
  static readonly open: FakeSocket[] = [];
  readyState = 0;
  sent: unknown[] = [];
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;

  /** With `connects` false the socket stays closed until `accept` is called. */
  constructor(_address = "", connects = true) {
    FakeSocket.open.push(this);
    if (connects) setTimeout(() => this.accept(), 5);
  }

  accept(): void {
    this.readyState = 1;
    this.onopen?.(new Event("open"));
  }

  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }

  deliver(message: object): void {
    if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(message) } as MessageEvent);
  }

  close(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.({} as CloseEvent);
  }
}
