/** The long form of reloads-and-crashes-lose-no-connection.test.ts: `npm run test:churn [SECONDS]`. Prints its counts. */
import { runChurn } from '../support/churn.ts';

const seconds = Number(process.argv[2] ?? 60);
const cleanups: (() => unknown)[] = [];
const scope = { after: (step: () => unknown) => void cleanups.push(step) };

let lost = 0;
for (const [title, killEvery] of [
  ['reloads and new certificates', undefined],
  ['the same, and a worker killed every 5 s', 5],
] as const) {
  const churn = { seconds, connectionsPerSecond: 200, reloadsPerSecond: 10, rotateEvery: 1 };
  const counts = await runChurn(scope as never, killEvery === undefined ? churn : { ...churn, killEvery });
  process.stdout.write(`${title}: ${JSON.stringify(counts)}\n`);
  lost += counts.lost.length;
}
for (const step of cleanups) await step();
process.exitCode = lost === 0 ? 0 : 1;
