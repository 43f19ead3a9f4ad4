/** One question to every member that is connected, answered from what each of them has by itself. */
import {
  decodeServiceResponse,
  encodeServiceCall,
  forwardRpcMethod,
  type MethodName,
  methods,
  type RequestOf,
  type ResponseOf,
} from "@blixard/protocol";
import { withTimeLimit } from "../wait-for-change.ts";
import type { ServiceCallScope, ServiceContext } from "./service-context.ts";

const askTimeoutMs = 1_000;

/** In the name of the caller. By node id, without this node. Who is not connected, refuses, or does not answer in time, is left out. */
export async function askMembers<Name extends MethodName>(
  context: ServiceContext,
  name: Name,
  request: RequestOf<Name>,
  { meta, signal }: ServiceCallScope,
): Promise<ReadonlyMap<number, ResponseOf<Name>>> {
  const { clock, transport } = context;
  const passedOn = { ...meta, timeoutMs: askTimeoutMs, hops: meta.hops + 1 };
  const payload = encodeServiceCall({ name, request, meta: passedOn });
  const connected = transport.sessions().filter(({ path }) => path !== "none");
  const answers = await Promise.allSettled(
    connected.map(async ({ nodeId }) => {
      const answer = await withTimeLimit(clock, askTimeoutMs, signal, (limited) =>
        transport.call(nodeId, forwardRpcMethod, payload, { timeoutMs: askTimeoutMs, signal: limited }),
      );
      const parsed = methods[name].response.parse(decodeServiceResponse(answer)) as ResponseOf<Name>;
      return [nodeId, parsed] as const;
    }),
  );
  return new Map(answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : [])));
}
