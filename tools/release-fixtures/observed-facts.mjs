// What the HTTP API of a release says of its state, for tests that ask the same of another release.
import { waitFor } from "./release-node.mjs";

const recordFields = {
  nodes: [
    ...["id", "name", "endpointId", "addresses", "role", "incarnation", "storeId", "starts", "capacity", "version"],
    ...["featureLevel", "joinedUnixMs", "cordoned"],
  ],
  members: ["id", "name", "endpointId", "role"],
};

const pick = (record, fields) =>
  Object.fromEntries(fields.flatMap((field) => (record[field] === undefined ? [] : [[field, record[field]]])));

/** Reads everything at one index: again when something was written meanwhile. */
export function observeFacts(node) {
  return waitFor("a state that stands still", async () => {
    const before = await node.get("/v1/status");
    const items = async (path) => (await node.get(path)).items;
    const facts = {
      clusterId: before.clusterId,
      appliedIndex: before.appliedIndex,
      appliedTerm: before.term,
      stateHash: (await node.get(`/v1/debug/statehash?index=${before.appliedIndex}`)).hash,
      kv: await items("/v1/kv?limit=10000"),
      vms: await items("/v1/vms"),
      images: await items("/v1/images"),
      nodes: (await items("/v1/nodes")).map((record) => pick(record, recordFields.nodes)),
      members: (await items("/v1/members")).map((record) => pick(record, recordFields.members)),
      tickets: await items("/v1/tickets"),
      tokens: await items("/v1/tokens"),
    };
    const after = await node.get("/v1/status");
    const stood = before.appliedIndex === after.appliedIndex && before.commitIndex === before.appliedIndex;
    return stood ? facts : undefined;
  });
}
