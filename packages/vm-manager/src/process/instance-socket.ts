/**
 * The sockets of an instance. The manager binds them and passes them on, so that the process of the instance needs no
 * directory that it may write to: what it could put there in place of a socket, the manager would follow.
 */
import { rename, rm } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { assert } from "@blixard/common";

/** Descriptors of the listening sockets in the process of an instance: the first after the standard streams. */
export const controlDescriptor = 3;
export const serialDescriptor = 4;
/** Of the first network card; those of the others follow. */
export const firstNicDescriptor = 5;

export interface InstanceSocket extends AsyncDisposable {
  /** Listens; valid until this is disposed. */
  readonly descriptor: number;
}

/** Binds a socket at `path` for another process. Disposing closes this process's share of it; the file stays. */
export async function bindInstanceSocket(path: string): Promise<InstanceSocket> {
  // A server of Node removes the file that it was bound to when it closes, so it is bound to another name.
  const temporary = `${path.slice(0, -1)}${path.slice(-1).toUpperCase()}`;
  assert(temporary !== path, "the path of a socket ends in a small letter");
  await rm(temporary, { force: true });
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(temporary, resolve);
  });
  await rename(temporary, path);
  return {
    descriptor: descriptorOf(server),
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** The same for several. */
export async function bindInstanceSockets(
  paths: readonly string[],
): Promise<AsyncDisposable & { readonly descriptors: readonly number[] }> {
  const sockets: InstanceSocket[] = [];
  const dispose = async () => {
    for (const socket of sockets) await socket[Symbol.asyncDispose]();
  };
  try {
    for (const path of paths) sockets.push(await bindInstanceSocket(path));
  } catch (error) {
    await dispose();
    throw error;
  }
  return { descriptors: sockets.map(({ descriptor }) => descriptor), [Symbol.asyncDispose]: dispose };
}

/** Node has no public name for it, and gives listening sockets only to its own children. */
function descriptorOf(server: Server): number {
  const handle: unknown = Reflect.get(server, "_handle");
  const descriptor = typeof handle === "object" && handle !== null && "fd" in handle ? handle.fd : undefined;
  assert(typeof descriptor === "number" && descriptor > 2, "a listening server has a descriptor");
  return descriptor;
}
