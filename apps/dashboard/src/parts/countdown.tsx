/** How long it is until a VM of a silent node starts elsewhere. */
import { useEffect, useState } from "preact/hooks";
import type { Lease } from "../model/cluster.ts";
import { seconds } from "../model/format.ts";

export function Countdown({ lease: { endAtMs, to } }: { readonly lease: Lease }) {
  const [nowMs, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const where = to === null ? "no node can take it" : `starts on node ${to}`;
  const leftMs = endAtMs - nowMs;
  return <span class="countdown">{leftMs > 0 ? `${where} in ${seconds(leftMs)}` : `${where} now`}</span>;
}
