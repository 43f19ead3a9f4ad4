/** `node dist/examples/simulate-bank-ledger.js --seeds 1..100`: the bank under faults. `--repeats` plants a bug. */
import { runScenario } from "../simulator/index.ts";
import { bankLedger } from "./bank-ledger.ts";

const args = process.argv.slice(2);
const repeats = args.includes("--repeats");
const command = `node dist/examples/simulate-bank-ledger.js${repeats ? " --repeats" : ""}`;
process.exitCode = await runScenario(
  command,
  bankLedger({ repeats }),
  args.filter((arg) => arg !== "--repeats"),
);
