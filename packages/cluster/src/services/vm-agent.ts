/** What people ask of the agent in a guest, on the node that runs the VM. Who ran what program is told in the log of that node. */

import type { Handlers } from "../calls/call-types.ts";
import type { NodeParts } from "../node-parts.ts";
import { vmOf } from "./vm.ts";

/** What these methods use of the node. */
type AgentParts = Pick<NodeParts, "logger" | "vmManager" | "stateMachine">;

export function vmAgentHandlers(parts: AgentParts): Pick<Handlers, "vm.exec" | "vm.readFile" | "vm.writeFile"> {
  const agentOf = (name: string) => parts.vmManager.agentOf(vmOf(parts, name).vmId);
  return {
    "vm.exec": async ({ name, argv, input, timeoutMs }, { meta, signal }) => {
      const agent = agentOf(name);
      const [program] = argv;
      // What it is given may be a secret.
      parts.logger.log("info", "a program is run in a VM", { vm: name, program, actor: meta.actor });
      const limited = { timeoutMs, ...(signal === undefined ? {} : { signal }) };
      const result = await agent.exec({ argv, input: bytesOf(input), ...limited });
      return { ...result, output: base64(result.output), errors: base64(result.errors) };
    },
    "vm.readFile": async ({ name, path, offset, bytesMax }, { meta }) => {
      if (offset === 0) parts.logger.log("info", "a file of a VM is read", { vm: name, path, actor: meta.actor });
      const { data, end } = await agentOf(name).readFile(path, { offset, bytesMax });
      return { data: base64(data), end };
    },
    "vm.writeFile": async ({ name, path, offset, data }, { meta }) => {
      if (offset === 0) parts.logger.log("info", "a file of a VM is written", { vm: name, path, actor: meta.actor });
      await agentOf(name).writeFile(path, { offset, data: bytesOf(data) });
      return {};
    },
  };
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "base64"));
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
