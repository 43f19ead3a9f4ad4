/** A simulated cluster with members that were taken over, and what is looked at because of them. */
import type { ClusterWorld } from "../cluster-program.ts";
import { randomOf } from "../seeds.ts";
import { SimCluster } from "../sim-cluster.ts";
import { simAddressOf } from "../sim-network.ts";
import { ByzantineMembers, takenRoles } from "./byzantine-members.ts";
import type { ForgedCounts } from "./forged-counts.ts";
import { Refusals } from "./refusals.ts";
import { WallsChecker } from "./walls-checker.ts";

const calmMs = 3_000;
const watchMs = 250;
/** What clients and operators have given up may still happen for so long. */
const lateCallsMs = 8_000;

export class ByzantineCluster {
  readonly cluster: SimCluster;
  readonly #members: ByzantineMembers;
  readonly #walls: WallsChecker;
  readonly #world: ClusterWorld;

  constructor(world: ClusterWorld) {
    this.#world = world;
    const { seed, time, network, violations } = world;
    const refusals = new Refusals();
    const honest = () => this.cluster.machines();
    this.#members = new ByzantineMembers({ seed, time, network, refusals, honest });
    this.#walls = new WallsChecker({
      ...{ violations, network, honest, taken: () => this.#members.members, addressOf: simAddressOf },
      endpointIdOf: (id) => this.cluster.endpointIdOf(id),
      isRemoved: (id) => this.cluster.isRemoved(id),
    });
    const onEnded = this.#walls.ended.bind(this.#walls);
    this.cluster = new SimCluster(
      { ...world, metricsOf: (id) => refusals.of(id), onEnded },
      randomOf(seed, "cluster"),
      {
        roles: takenRoles(randomOf(seed, "taken")),
        taken: (member) => this.#members.add(member),
        play: (action) => this.#members.play(action),
        silence: () => this.#members.silence(),
      },
    );
  }

  check(): void {
    this.#walls.check();
  }

  /** Looks now and then: what a liar changes, an honest node may put right again. */
  watch(): void {
    this.#world.time.after(watchMs, 0, () => {
      this.#walls.check();
      this.watch();
    });
  }

  /** In a calm cluster they all lie, and nothing comes of it: no term, no leader, no record of others. */
  async probe(): Promise<void> {
    await this.cluster.sleep(lateCallsMs);
    const before = this.#walls.still();
    this.#members.lieInCalm(calmMs);
    await this.cluster.sleep(calmMs + 2_000);
    this.#members.silence();
    this.#walls.assertStill(before);
    this.#walls.check();
  }

  counts(): ForgedCounts {
    return this.#members.counts();
  }
}
