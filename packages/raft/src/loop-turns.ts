const resolved = Promise.resolve();

/**
 * When the loop runs: once, in a microtask, after whatever asked for it. Tasks that others post run at the beginning
 * of the next turn, in their order.
 */
export class LoopTurns {
  /** Must not throw. */
  readonly #turn: () => void;
  readonly #run = () => {
    this.#scheduled = false;
    this.#turn();
  };
  #tasks: (() => void)[] = [];
  #scheduled = false;

  constructor(turn: () => void) {
    this.#turn = turn;
  }

  post(task: () => void): void {
    this.#tasks.push(task);
    this.wake();
  }

  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Cheaper than queueMicrotask, which keeps an asynchronous context for each.
    void resolved.then(this.#run);
  }

  /** Called by the turn itself. */
  runTasks(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
  }
}
