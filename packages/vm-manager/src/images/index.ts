/** What is imported as an image: the command line looks at it before anything is sent, and the node again. */
export type { ByteSource } from "./byte-source.ts";
export { FileSource, piecesOf } from "./byte-source.ts";
export type { DiskContent } from "./disk-content.ts";
export { ContentDigest, openContent } from "./disk-content.ts";
export type { DiskSourceFormat, ImportableDisk } from "./importable-disk.ts";
export { diskSourceFormats, openDisk } from "./importable-disk.ts";
export { inspectIso, looksLikeIso } from "./inspect-iso.ts";
export { inspectInitrd, inspectLinux, inspectMultiboot } from "./inspect-kernel.ts";
