/** What can be done with a VM as it is now. */
import { vmVerbs } from "virtual:contract";
import type { VmRecord, VmVerbName } from "@blixard/protocol";
import { write } from "../model/api.ts";
import { nodes } from "../model/cluster.ts";
import { tokenOf } from "../model/session.ts";
import { Action } from "../parts/action.tsx";

interface Verb {
  readonly label: string;
  readonly text: string;
  readonly done: string;
  readonly isDangerous?: boolean;
  readonly when: (vm: VmRecord) => boolean;
}

const verbs: Readonly<Record<VmVerbName, Verb>> = {
  start: {
    label: "Start",
    text: "It starts on a node that can take it.",
    done: "is being started",
    when: ({ desired }) => desired === "stopped",
  },
  stop: {
    label: "Stop",
    text: "Its guest is asked to power off, and ended when it does not.",
    done: "is being stopped",
    isDangerous: true,
    when: ({ desired }) => desired === "running" || desired === "paused",
  },
  restart: {
    label: "Restart",
    text: "It stops and starts again. What is not on a disk is lost.",
    done: "is being restarted",
    isDangerous: true,
    when: ({ desired }) => desired === "running",
  },
  pause: {
    label: "Pause",
    text: "Its guest stands still until it is resumed.",
    done: "is being paused",
    when: ({ desired, phase }) => desired === "running" && phase === "Running",
  },
  resume: {
    label: "Resume",
    text: "Its guest runs on.",
    done: "runs on",
    when: ({ desired }) => desired === "paused",
  },
};

export function VmActions({ vm }: { readonly vm: VmRecord }) {
  const { name } = vm;
  return (
    <span class="actions">
      {(Object.entries(verbs) as [VmVerbName, Verb][])
        .filter(([, { when }]) => when(vm))
        .map(([verb, { label, text, done, isDangerous = false }]) => (
          <Action
            key={verb}
            call="vm.desire"
            label={label}
            title={`${label} VM ${name}?`}
            text={text}
            done={`VM ${name} ${done}.`}
            run={() => write(tokenOf(), "vm.desire", { name, ...wishOf(verb) })}
            isDangerous={isDangerous}
          />
        ))}
      {vm.desired !== "deleted" && <Migrate vm={vm} />}
      {vm.desired !== "deleted" && (
        <Action
          call="vm.desire"
          label="Delete"
          title={`Delete VM ${name}?`}
          text="It stops, and its own disks go with it. Volumes stay."
          done={`VM ${name} is being deleted.`}
          run={() => write(tokenOf(), "vm.desire", { name, desired: "deleted" })}
          isDangerous
        />
      )}
    </span>
  );
}

/** What is asked of a VM by a verb, as the contract says. */
function wishOf(verb: VmVerbName) {
  const { desired, restart, from } = vmVerbs[verb];
  return { desired, restart, ...(from === undefined ? {} : { from }) };
}

function Migrate({ vm: { name, node } }: { readonly vm: VmRecord }) {
  const others = (nodes.value ?? []).filter(({ id, state }) => id !== node && state === "ready");
  if (node === null || others.length === 0) return null;
  const migrate = async (fields: FormData) => {
    const to = String(fields.get("to") ?? "");
    await write(tokenOf(), "vm.migrate", { name, ...(to === "" ? {} : { to: Number(to) }) });
  };
  return (
    <Action
      call="vm.migrate"
      label="Move"
      title={`Move VM ${name}?`}
      text="It stops, its disks are copied to the other node, and it starts there."
      done={`VM ${name} is being moved: see the operations.`}
      run={migrate}
      isDangerous
    >
      <label>
        To
        <select name="to">
          <option value="">the node that suits it best</option>
          {others.map(({ id, name: nodeName }) => (
            <option key={id} value={id}>
              node {id} ({nodeName})
            </option>
          ))}
        </select>
      </label>
    </Action>
  );
}
