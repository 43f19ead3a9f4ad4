/** Things to close, in the reverse order of their opening. */
import { type Logger, messageOf } from "@blixard/common";

export class Closers {
  readonly #logger: Logger;
  #closers: { readonly what: string; readonly close: () => Promise<void> }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(what: string, close: () => Promise<void>): void {
    this.#closers.push({ what, close });
  }

  /** Closes everything once. What fails is logged and does not keep the rest open. */
  async close(): Promise<void> {
    for (const { what, close } of this.#closers.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        this.#logger.log("warn", "closing failed", { what, error: messageOf(error) });
      }
    }
  }
}
