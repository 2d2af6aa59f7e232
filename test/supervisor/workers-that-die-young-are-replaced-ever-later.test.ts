/** Pauses before a worker is replaced: by what its predecessors died of, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Death, noDeaths, restartAfter } from '../../src/supervisor/restart.ts';

const young: Death = { livedMs: 9999 };
const old: Death = { livedMs: 10_000 };
const unborn: Death = 'never served';

const cases: readonly { readonly deaths: readonly Death[]; readonly pauses: readonly number[] }[] = [
  { deaths: [old, old, old], pauses: [0, 0, 0] },
  { deaths: [young, young, young, young], pauses: [0, 100, 200, 400] },
  { deaths: [young, young, young, old, young, young], pauses: [0, 100, 200, 0, 0, 100] },
  { deaths: [unborn, unborn, unborn], pauses: [200, 400, 800] },
  { deaths: [young, unborn, young], pauses: [0, 400, 200] },
  { deaths: [unborn, old, unborn], pauses: [200, 0, 200] },
  { deaths: [unborn, unborn, unborn, old, young], pauses: [200, 400, 800, 0, 0] },
];

for (const { deaths, pauses } of cases) {
  test(`${deaths.map(describe).join(', ')}: ${pauses.join(', ')} ms`, () => {
    assert.deepEqual(pausesAfter(deaths), pauses);
  });
}

test('pauses grow up to half a minute, and stay there', () => {
  const most = (death: Death) => pausesAfter(Array.from({ length: 2000 }, () => death)).at(-1);
  assert.deepEqual([most(young), most(unborn)], [30_000, 30_000]);
});

function pausesAfter(deaths: readonly Death[]): number[] {
  let restart = noDeaths;
  return deaths.map((death) => {
    restart = restartAfter(death, restart);
    return restart.pauseMs;
  });
}

function describe(death: Death): string {
  return death === unborn ? 'never served' : death === old ? 'lived' : 'died young';
}
