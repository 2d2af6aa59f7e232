/** ClientHellos to compare readers with: captured ones, changed ones that stay good, made ones, and some that are wrong. */
import { createHelloReader } from '../../../src/peek/client-hello.ts';
import {
  type Extension,
  helloMessage,
  inRecords,
  protocols,
  serverName,
  signatureAlgorithms,
  supportedGroups,
  supportedVersions,
  uint16s,
} from '../../support/client-hellos.ts';
import { mutate } from '../mutate.ts';
import { createRandom, type Random } from '../random.ts';
import { target } from '../targets/client-hello.ts';

/** `count` of them, whole ones all: a quarter made, one in ten refused by our parser, the rest the corpus and changes of it. */
export function makeHellos(count: number, seed: number): Buffer[] {
  const random = createRandom(seed);
  const pool = [...(target.seeds() as Buffer[])];
  const material = { random, pool, tokens: target.tokens, maxLength: 8000 };
  const small = pool.filter((hello) => hello.length < 4000);
  const hellos = [...pool];
  let refused = 0;
  while (hellos.length < count) {
    if (hellos.length % 4 === 0) {
      hellos.push(make(random));
      continue;
    }
    const changed = mutate(random.pick(small), material);
    const wire = target.repair && random.below(4) > 0 ? target.repair(changed) : changed;
    const state = stateOf(wire);
    if (state === 'taken') hellos.push(wire);
    else if (state === 'refused' && refused * 10 < count) {
      refused += 1;
      hellos.push(wire);
    }
  }
  return hellos;
}

function stateOf(wire: Buffer): 'taken' | 'refused' | 'partial' {
  try {
    return createHelloReader()(wire) ? 'taken' : 'partial';
  } catch {
    // What has no record of a handshake is for no TLS stack.
    return wire[0] === 22 && wire[1] === 3 && wire.length > 50 ? 'refused' : 'partial';
  }
}

/** One made field by field, of which OpenSSL might even take some. */
function make(random: Random): Buffer {
  const some = <T>(most: number, one: () => T): T[] => Array.from({ length: random.below(most + 1) }, one);
  const word = (most: number): string =>
    Array.from({ length: 1 + random.below(most) }, () => random.pick([...'abcXYZ019-_'])).join('');
  const grease = (): number => random.below(16) * 0x1010 + 0x0a0a;
  const parts: Extension[] = [
    serverName(`${[word(60), ...some(3, () => word(60))].join('.')}${random.pick(['', '', '.'])}`),
    protocols(word(12), ...some(4, () => word(200))),
    supportedVersions(
      ...some(2, grease),
      random.pick([0x0304, 0x0303]),
      ...some(3, () => 0x0301 + random.below(4)),
    ),
    supportedGroups(...some(1, grease), 0x17, ...some(20, () => random.below(65_536))),
    signatureAlgorithms(0x0403, ...some(30, () => random.below(65_536))),
    [grease(), Buffer.alloc(random.below(2))],
    [5, Buffer.from('0100000000', 'hex')],
    [11, Buffer.from('0100', 'hex')],
    [23, Buffer.alloc(0)],
    [35, Buffer.alloc(random.below(400), 7)],
    [50, Buffer.concat([uint16s([4]), uint16s([0x0403, 0x0804])])],
    [random.below(65_536), Buffer.alloc(random.below(100), random.below(256))],
  ];
  const chosen = new Map(parts.filter(() => random.below(3) > 0).map((part) => [part[0], part]));
  const message = helloMessage({
    legacyVersion: random.pick([0x0301, 0x0302, 0x0303, 0x0303]),
    sessionId: Buffer.alloc(random.pick([0, 32])),
    ciphers: [...some(1, grease), 0xc02b, ...some(60, () => random.below(65_536))],
    extensions: random.below(20) === 0 ? undefined : [...chosen.values()].sort(() => random.below(3) - 1),
  });
  const wire = inRecords(message, random.pick([16_384, 1 + random.below(600)]));
  return stateOf(wire) === 'taken' ? wire : make(random);
}
