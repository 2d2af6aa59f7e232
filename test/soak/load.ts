/** The load of a soak: so many visits of each kind a second, evenly, at about a third of two cores in all. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ledger } from './ledger.ts';
import { postgresVisit } from './postgres-visit.ts';
import type { Stage } from './stage.ts';
import { createVisits } from './visits.ts';
import type { Way, WayName } from './ways.ts';

/** Short visits a second, by way. */
const shortRates: Readonly<Partial<Record<WayName, number>>> = {
  ec: 7,
  rsa: 3,
  resumed: 6,
  pki: 4,
  pins: 3,
  mutual: 4,
  mortal: 5,
  pass: 5,
  plain: 6,
  proxied: 3,
  'proxied-tls': 3,
  direct: 2,
};
const othersRates = { bulk: 1, slow: 0.2, halfClose: 2, postgres: 1.5, cancel: 0.2, hostile: 4 };
const longCount = 60;
const longSeconds = { min: 20, max: 180 };
/** More at once means that the machine cannot keep up: then some are left out, and counted. */
const maxOpen = 600;

export type Load = {
  /** No new visits; resolves when the last has ended. */
  readonly stop: () => Promise<void>;
  /** Visits that were left out. */
  readonly skipped: () => number;
};

export function startLoad({ ways, proxy, credentials }: Stage, { ledger, hostile, rate }: LoadOptions): Load {
  const postgresPort = proxy.port('postgres');
  const visits = createVisits(ledger);
  const through = Object.values(ways).filter(({ name }) => name !== 'direct');
  const anyWay = () => through[randomInt(through.length)] as Way;
  const running = new Set<Promise<void>>();
  let over = false;
  let skipped = 0;

  function start(visit: () => Promise<void>): void {
    if (over) return;
    if (ledger.openVisits() > maxOpen) {
      skipped += 1;
      return;
    }
    const run = visit();
    running.add(run);
    void run.finally(() => running.delete(run));
  }
  const timers = new Set<NodeJS.Timeout>();
  function often(perSecond: number, visit: () => Promise<void>): void {
    if (perSecond > 0) timers.add(setInterval(() => start(visit), 1000 / (perSecond * rate)));
  }
  async function longAfterLong(): Promise<void> {
    await sleep(randomInt(5000));
    while (!over) {
      await visits.long(anyWay(), randomInt(longSeconds.min, longSeconds.max), () => over);
      // Not at once, should it fail.
      await sleep(1000);
    }
  }

  for (const [name, perSecond] of Object.entries(shortRates) as [WayName, number][]) {
    often(perSecond, () => visits.short(ways[name]));
  }
  often(othersRates.bulk, () => visits.bulk(anyWay()));
  often(othersRates.slow, () => visits.slow(anyWay()));
  often(othersRates.halfClose, () => visits.halfClose(anyWay()));
  often(othersRates.postgres, () => postgresVisit(postgresPort, credentials, ledger, false));
  often(othersRates.cancel, () => postgresVisit(postgresPort, credentials, ledger, true));
  often(othersRates.hostile, hostile);
  const long = Array.from({ length: Math.round(longCount * rate) }, longAfterLong);

  return {
    skipped: () => skipped,
    async stop() {
      over = true;
      for (const timer of timers) clearInterval(timer);
      await Promise.all([...long, ...running]);
    },
  };
}

type LoadOptions = {
  readonly ledger: Ledger;
  readonly hostile: () => Promise<void>;
  /** 1: as much as above. */
  readonly rate: number;
};
