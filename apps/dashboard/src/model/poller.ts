/**
 * Asks a node for what a view shows, in turn: one request at a time, one every two seconds. None while nobody looks, and
 * ever fewer while none is answered.
 */
const stepMs = 2_000;
const stepMsMax = 60_000;

export interface PollerPorts {
  /** Calls once after the time; what it gives takes that back. */
  after(delayMs: number, run: () => void): () => void;
  /** Nobody looks at the page. */
  isHidden(): boolean;
  /** Called after each request: with why it failed and when the next one comes, or with undefined. */
  onOutcome(failure: { readonly error: unknown; readonly againMs: number } | undefined): void;
}

export type Load = () => Promise<void>;

export class Poller {
  readonly #ports: PollerPorts;
  #loads: readonly Load[] = [];
  /** Grows with each new set of loads: what the one before has under way is not followed. */
  #turn = 0;
  #at = 0;
  #failures = 0;
  #isBusy = false;
  #cancel = () => {};

  constructor(ports: PollerPorts) {
    this.#ports = ports;
  }

  /** What is asked from now on; all of it at once at first. */
  follow(loads: readonly Load[]): void {
    this.#turn++;
    this.#loads = loads;
    this.#at = 0;
    this.#isBusy = false;
    this.#cancel();
    if (loads.length > 0) void this.#run();
  }

  /** Somebody looks again, or wants to know now. */
  wake(): void {
    if (this.#isBusy || this.#loads.length === 0) return;
    this.#at = 0;
    this.#cancel();
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#ports.isHidden()) return;
    const turn = this.#turn;
    const load = this.#loads[this.#at % this.#loads.length];
    if (load === undefined) return;
    this.#isBusy = true;
    let failure: { readonly error: unknown } | undefined;
    try {
      await load();
    } catch (error) {
      failure = { error };
    }
    if (turn !== this.#turn) return;
    this.#isBusy = false;
    this.#at++;
    this.#failures = failure === undefined ? 0 : this.#failures + 1;
    const isFirstRound = failure === undefined && this.#at < this.#loads.length;
    const delayMs = isFirstRound ? 0 : Math.min(stepMsMax, stepMs * 2 ** Math.min(this.#failures, 10));
    this.#ports.onOutcome(failure === undefined ? undefined : { ...failure, againMs: delayMs });
    // What it was told may have set something else.
    if (turn === this.#turn) this.#cancel = this.#ports.after(delayMs, () => void this.#run());
  }
}
