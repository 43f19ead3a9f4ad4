/** Tests that need something which may not be installed: skipped aloud on a developer's machine, red in CI. */
import { BlixardError } from "@blixard/common";

export interface RequiredComponent {
  readonly name: string;
  readonly present: boolean;
  /** The command that installs it. */
  readonly install: string;
}

/** The parts of a test framework's `describe` that are used here. */
interface Describe {
  (name: string, run: () => void): void;
  readonly skip: (name: string, run: () => void) => void;
}

/**
 * `describe` when the component is there; else `describe.skip`, with the install command in the name.
 * @throws UNAVAILABLE in CI (`CI=true`), where everything must be there
 */
export function describeWith(
  describe: Describe,
  component: RequiredComponent,
): (name: string, run: () => void) => void {
  if (component.present) return describe;
  const message = `needs ${component.name}; install it with: ${component.install}`;
  if (process.env["CI"] === "true") throw new BlixardError("UNAVAILABLE", message);
  return (name, run) => describe.skip(`${name} (${message})`, run);
}
