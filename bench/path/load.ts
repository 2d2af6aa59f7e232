/** Connections one after the other, so that each is counted whole and none is batched with another. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { figuresOf } from '../../src/tools/load/engine/figures.ts';
import { addLoadFlags, type LoadFlags } from '../../src/tools/load/flags.ts';
import { makePlans } from '../../src/tools/load/plans.ts';
import { composeRun } from '../../src/tools/load/process-plan.ts';
import { resolveTarget } from '../../src/tools/load/target.ts';
import type { Site } from '../compare/fronts.ts';
import { argumentsOf, faultOf } from '../compare/load.ts';
import type { Workload } from '../compare/workloads.ts';
import { chooseKinds } from './kinds.ts';

/** For the relay to close the last connection, and to do what it does once they are closed. */
const settleMs = 50;

/** Has a relay serve so many connections of every kind, so that V8 has compiled the same whichever kinds are counted then. */
export async function warmUp(connections: number, site: Site): Promise<void> {
  for (const { workload } of chooseKinds()) {
    const load = await prepareLoad(workload, connections, site);
    await load();
  }
}

/** Throws if any of them was not what the workload asks for. */
export type Load = () => Promise<void>;

/** `penstock load` in this process, with a session to resume already: what it returns makes nothing but those connections. */
export async function prepareLoad(workload: Workload, connections: number, site: Site): Promise<Load> {
  const command = addLoadFlags(new Command());
  command.parse(argumentsOf(workload, connections, 1, site), { from: 'user' });
  const [plan] = makePlans(command.opts<LoadFlags>(), await resolveTarget(command.args[0]!, false));
  const run = composeRun(plan!); // one process, one plan
  const notes = await run.prepare();
  await sleep(settleMs);
  return async () => {
    const figures = figuresOf([await run.start()]);
    const fault = faultOf(workload, connections, { ...figures, notes });
    if (fault !== undefined) throw new Error(`${workload.id}: ${fault}`);
    await sleep(settleMs);
  };
}
