/** Which technology a session uses, and why, for its status. */
import type { Connection, PeerSessionStatus, TransportAdapter } from "../transport-types.ts";

export function transportOf(
  { choices, kind }: TransportAdapter,
  endpointId: string,
  active: { readonly connection: Connection; readonly dialledHere: boolean } | undefined,
): Pick<PeerSessionStatus, "transport" | "transportReason"> {
  const choice = choices?.choiceFor(endpointId);
  if (choice === undefined) return { transport: kind, transportReason: null };
  const transport = active?.connection.transport ?? choice.transport;
  if (transport === choice.transport) return { transport, transportReason: choice.reason };
  const transportReason = active?.dialledHere ? `moving to ${choice.transport}` : "chosen by the peer";
  return { transport, transportReason };
}
