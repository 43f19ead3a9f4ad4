/** Limits of packages that do not know each other, and the settings of a node, which must not contradict them. */
import { assertAtMost, assertBelow } from "@blixard/common";
import { httpLimits } from "@blixard/http-api";
import { frameBytesMin } from "@blixard/protocol";
import { transportLimits } from "@blixard/transport";
import { nodeSettings } from "./node-settings.ts";

const { callTimeoutMsMax } = httpLimits;
const { rpcTimeoutMsMax } = transportLimits;
assertAtMost({ callTimeoutMsMax }, { rpcTimeoutMsMax }, "a call that came over HTTP may be passed on to its end");

const fallbackOf = (name: "maxFrameBytes" | "electionTimeoutMs" | "heartbeatMs"): number => nodeSettings[name].fallback;
assertAtMost({ frameBytesMin }, { maxFrameBytes: fallbackOf("maxFrameBytes") }, "a frame holds the largest call");
assertBelow(
  { "2 * heartbeatMs": 2 * fallbackOf("heartbeatMs") },
  { electionTimeoutMs: fallbackOf("electionTimeoutMs") },
  "a lost heartbeat must not start an election",
);
