/** One line to a client that keeps trying, for programs and tests. */
import { isLoopbackHost } from "@blixard/common";
import { parseNodeAddress } from "./address.ts";
import { BlixardClient, type ClientOptions, type ClientTarget } from "./blixard-client.ts";
import { findLocalNode, listLocalNodes, localTarget } from "./local-nodes.ts";

export class RetryClient extends BlixardClient {
  /**
   * A client of the nodes at `addresses` that has proved that one of them answers. Without a token, a loopback address
   * takes that of the node of this user that serves there.
   * @throws UNREACHABLE, UNKNOWN_PEER
   */
  static async connect(
    addresses: string | readonly string[],
    options: Omit<ClientOptions, "addresses"> = {},
  ): Promise<RetryClient> {
    const list = typeof addresses === "string" ? [addresses] : addresses;
    const targets = options.token === undefined ? await withLocalTokens(list) : list;
    const client = new RetryClient({ ...options, addresses: targets });
    try {
      await client.healthCheck();
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }
}

async function withLocalTokens(addresses: readonly string[]): Promise<(string | ClientTarget)[]> {
  const nodes = await listLocalNodes();
  return addresses.map((address) => {
    const node = isLoopbackHost(parseNodeAddress(address).host) ? findLocalNode(nodes, address) : undefined;
    return node === undefined ? address : localTarget(node, address);
  });
}
