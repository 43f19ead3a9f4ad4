/** Operations as people see them: what runs, what has ended, and how one is taken back. */
import { type BlixardError, notApplied } from "@blixard/common";
import type { OperationRecord } from "@blixard/protocol";
import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { isRemembered } from "../state-machine/apply-command.ts";
import { pageOf } from "./page.ts";
import { refuseIfMatch } from "./propose.ts";

/** What these methods use of the node. */
type OperationParts = Pick<NodeParts, "stateMachine" | "proposals">;

type OperationMethods = "operation.list" | "operation.get" | "operation.cancel";

export function operationHandlers(parts: OperationParts): Pick<Handlers, OperationMethods> {
  const { stateMachine, proposals } = parts;
  return {
    "operation.list": async (asked) => {
      const { state, version } = stateMachine;
      const index = version.value.appliedIndex;
      return pageOf(state.operations.values(), asked, { keyOf: ({ id }) => id, index });
    },
    "operation.get": async ({ id }) => {
      const operation = stateMachine.state.operations.get(id);
      if (operation !== undefined) return operation;
      throw operationNotFound(id);
    },
    "operation.cancel": async ({ id }, call) => {
      refuseIfMatch(call, "an operation");
      const present = stateMachine.state.operations.get(id);
      if (!isRemembered(stateMachine.state, call.meta)) {
        if (present === undefined) throw operationNotFound(id);
        assertMayEnd(present);
      }
      const { kind, id: who } = call.meta.actor;
      const body = { type: "operation.end", id, state: "cancelled", message: `cancelled by ${kind} ${who}` } as const;
      const { index, term, value } = await proposals.propose<{ operation: OperationRecord }>(body, call);
      return { index, term, operation: value.operation };
    },
  };
}

function operationNotFound(id: string): BlixardError {
  const hint = "It may have ended long ago. See: blixard operations list";
  return notApplied("OPERATION_NOT_FOUND", `there is no operation ${id}`, { hint });
}

/** What is forced on a VM is a wish about it, which only another wish takes back. @throws CONFLICT */
function assertMayEnd({ id, kind, vms: [name = "NAME"] }: OperationRecord): void {
  if (kind !== "vm-stop" && kind !== "vm-delete") return;
  const hint =
    kind === "vm-stop" ? `Say what is to become of the VM: blixard vm start ${name}` : "Nothing brings the VM back.";
  throw notApplied("CONFLICT", `${id} only tells when a forced ${kind.slice(3)} of the VM ${name} takes effect`, {
    hint,
  });
}
