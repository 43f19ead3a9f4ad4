/** What a node has opened, to be closed in the reverse order. */
import { type Logger, messageOf } from "@blixard/common";

export interface CloseOptions {
  /** VMs keep running otherwise. */
  readonly stopVms?: boolean;
}

type Close = (options: CloseOptions) => Promise<unknown>;

export class CloseStack {
  readonly #logger: Logger;
  #opened: { readonly what: string; readonly close: Close }[] = [];

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The returned function takes it off again: another part closes it from then on. */
  add(what: string, close: Close): () => void {
    const entry = { what, close };
    this.#opened.push(entry);
    return () => {
      this.#opened = this.#opened.filter((other) => other !== entry);
    };
  }

  /** Closes everything once, also what stands below a part that cannot be closed. @throws the first error */
  async close(options: CloseOptions): Promise<void> {
    const errors: unknown[] = [];
    for (const { what, close } of this.#opened.splice(0).reverse()) {
      try {
        await close(options);
      } catch (error) {
        errors.push(error);
        this.#logger.log("warn", "a part of the node could not be closed", { part: what, error: messageOf(error) });
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
