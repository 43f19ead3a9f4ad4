/**
 * When the loop runs: once, in a microtask, after whatever asked for it. Tasks that others post run at the beginning
 * of the next turn, in their order.
 */
export class LoopTurns {
  readonly #turn: () => void;
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
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#turn();
    });
  }

  /** Called by the turn itself. */
  runTasks(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
  }
}
