/**
 * The preset dictionary of the deflater: the keys and words of the commands that clusters replicate, as MessagePack
 * writes them, the most frequent ones last. It is part of the wire format and never changes. A better one gets a number
 * of its own in `helloCapability`.
 */
/** A MessagePack text of up to 31 bytes: its length, then its bytes. */
const word = (text: string): string => String.fromCharCode(0xa0 | text.length) + text;
const words = (text: string): string => text.split(" ").map(word).join("");

const parts: readonly string[] = [
  words("ticket.create ticket.revoke secretHash nodeName createdUnixMs expiresUnixMs usedBy revoked"),
  words("node.admit node.remove node.liveness reachable joinedUnixMs featureLevel incarnation leaving"),
  words("image.put image.remove format multiboot linux blobs kernel digest sizeBytes commandLine sources"),
  words("node.update addresses capacity memoryMiB drivers role voter learner cordoned storeId starts version"),
  words("kv.cas key from to kv.delete kv.put key value vm.purge vm.desire newEpoch stopped paused deleted"),
  words("type status reason message no-answer waiting image process restart-backoff restart-limit"),
  words("Pending Preparing Starting Stopping Stopped Failed Unknown Deleted Paused guest-shutdown stop-requested"),
  words("qemu-kvm fake embedded none booting panicked keep never always ifMatchIndex system"),
  " MiB were free of the nodes that fit has the fewest VMs (0) of the 3 of 3 that fit",
  words("requestId"),
  "\xd9$01",
  words("atUnixMs"),
  "\xcbBy",
  words("actor kind token id admin body type vm.create name"),
  words("vmId"),
  "\xd9$",
  words("spec vcpus"),
  "\x01",
  words("memoryMiB"),
  "\xcd\x02\x00",
  words("image builtin/nano onPartition stop restartPolicy on-failure desired running node"),
  "\x01",
  words("placement"),
  "\xd9Hnode 1 has the fewest VMs",
  words("actor kind node id"),
  words("body type vm.observe nodeId"),
  "\x01",
  words("observations"),
  "\x91\x89",
  words("vmId"),
  "\xd9$",
  words("fencingEpoch"),
  "\x01",
  words("phase Running reason running message  driver qemu-tcg guest ready restarts"),
  "\x00",
  words("observedUnixMs"),
  "\xcbBy",
];

/** Characters up to 0xff, one byte each. */
const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

export const frameDictionary: Uint8Array = bytesOf(parts.join(""));
