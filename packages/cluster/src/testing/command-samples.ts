/** Commands and records for tests, with what a test does not care about filled in. */
import {
  type Command,
  type CommandBody,
  type NodeRecord,
  type TicketRecord,
  type TokenRecord,
  type VmEnd,
  type VmObservation,
  type VmSpec,
  vmSpecSchema,
} from "@blixard/protocol";
import { endpointIdOf } from "./memory-cluster-network.ts";
import { demoImage } from "./memory-vm-manager.ts";

export const sampleNode = (id: number, fields: Partial<NodeRecord> = {}): NodeRecord => ({
  id,
  name: `n${id}`,
  endpointId: endpointIdOf(id),
  addresses: [`127.0.0.1:${7000 + id}`],
  role: "voter",
  incarnation: 1,
  capacity: { vcpus: 4, memoryMiB: 1_024, drivers: ["fake"] },
  version: "0.0.0-test",
  featureLevel: 1,
  joinedUnixMs: 1,
  cordoned: false,
  ...fields,
});

export const sampleSpec = (fields: Partial<VmSpec> = {}): VmSpec =>
  vmSpecSchema.parse({ memoryMiB: 64, image: "demo", ...fields });

export const sampleTicket = (id: string, fields: Partial<TicketRecord> = {}): TicketRecord => ({
  id,
  secretHash: "a".repeat(64),
  role: "voter",
  nodeName: null,
  createdUnixMs: 0,
  expiresUnixMs: 1_000,
  usedBy: null,
  revoked: false,
  ...fields,
});

export const sampleToken = (id: string, fields: Partial<TokenRecord> = {}): TokenRecord => ({
  id,
  role: "admin",
  createdUnixMs: 0,
  ...fields,
});

export const sampleVmId = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

export const sampleObservation = (vmId: string, fields: Partial<VmObservation> = {}): VmObservation => ({
  vmId,
  fencingEpoch: 1,
  phase: "Running",
  reason: "started",
  message: "",
  driver: "fake",
  guest: "ready",
  restarts: 0,
  observedUnixMs: 5,
  ...fields,
});

export const sampleEnd = (fields: Partial<VmEnd> = {}): VmEnd => ({
  unixMs: 5,
  reason: "guest-panic",
  message: "",
  stoppedBy: "itself",
  fencingEpoch: 1,
  ...fields,
});

export const initBody: CommandBody = {
  type: "cluster.init",
  cluster: { clusterId: "c", createdUnixMs: 0, formatVersion: 1 },
  node: sampleNode(1),
  token: { id: "admin", tokenHash: "b".repeat(64), role: "admin", createdUnixMs: 0 },
  images: [demoImage],
};

export const commandOf = (body: CommandBody, fields: Partial<Command> = {}): Command => ({
  requestId: "",
  atUnixMs: 100,
  actor: { kind: "token", id: "admin" },
  body,
  ...fields,
});
