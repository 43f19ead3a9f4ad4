import { Option } from "commander";

/** A field of a specification that is a list: an option for one of its items, which may be given several times. */
export interface ListOption {
  readonly flag: string;
  readonly hint: string;
  /** @throws INVALID_ARGUMENT for text that is no item; whether the items fit is up to the node */
  readonly read: (given: readonly string[]) => unknown;
}

/** Collects what is given, one item after the other. */
export function repeatedOption({ flag, hint }: Pick<ListOption, "flag" | "hint">, description: string): Option {
  const option = new Option(flag, `${description}: ${hint}; several times`);
  return option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
}
