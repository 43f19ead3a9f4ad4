/** The messages that Raft nodes send each other, and entries of the log, as bytes. Its types come from `@blixard/raft`. */
export { decodeEntries, decodePeerMessages, encodeEntries, encodePeerMessages } from "./peer-message-codec.ts";
