/** A state to apply commands to, one by one, for tests of the pure state machine. */
import type { Command, CommandBody, CommandResult } from "@blixard/protocol";
import { type Application, type ApplyOptions, applyCommand } from "../state-machine/apply-command.ts";
import { applyChanges, emptyState } from "../state-machine/state.ts";
import { commandOf, initBody } from "./command-samples.ts";

export class Replica {
  readonly state = emptyState();
  readonly #options: ApplyOptions;
  index = 0;

  constructor(options: ApplyOptions = {}) {
    this.#options = options;
  }

  /** A replica of a cluster that was initialised: node 1, the image `demo`, the administrator. */
  static initialised(options: ApplyOptions = {}): Replica {
    const replica = new Replica(options);
    replica.apply(initBody);
    return replica;
  }

  applyFully(command: Command): Application {
    this.index++;
    const application = applyCommand(this.state, command, { index: this.index, term: 1 }, this.#options);
    applyChanges(this.state, application.changes);
    return application;
  }

  apply(body: CommandBody, fields: Partial<Command> = {}): CommandResult {
    return this.applyFully(commandOf(body, fields)).applied.result;
  }
}
