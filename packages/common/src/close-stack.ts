/** What a program has opened, to be closed in the reverse order. */
import { messageOf } from "./errors.ts";
import type { Logger } from "./logger.ts";

/** `Closing` is what every part is told when it is closed. */
export class CloseStack<Closing = void> {
  readonly #logger: Logger;
  #opened: { readonly what: string; readonly close: (closing: Closing) => unknown }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The returned function takes the part off again: somebody else closes it from then on. */
  add(what: string, close: (closing: Closing) => unknown): () => void {
    const entry = { what, close };
    this.#opened.push(entry);
    return () => {
      this.#opened = this.#opened.filter((other) => other !== entry);
    };
  }

  /** Closes everything once, also what stands below a part that cannot be closed, which is logged. @throws the first error */
  async close(closing: Closing): Promise<void> {
    const errors: unknown[] = [];
    for (const { what, close } of this.#opened.splice(0).reverse()) {
      try {
        await close(closing);
      } catch (error) {
        errors.push(error);
        this.#logger.log("warn", "a part could not be closed", { part: what, error: messageOf(error) });
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
