/** Asks: counts connections and time, and fills in what every question has in common. */

import type { Offer } from '../../../peek/write-hello.ts';
import { ask, type Reply } from './ask.ts';
import type { Findings, Questions } from './findings.ts';
import { type Handshake, type HandshakeOptions, shakeHands } from './handshake.ts';

/** Enough was asked: no more connections, or no more time. */
export class Stop extends Error {}

export type Asker = {
  readonly questions: Questions;
  readonly findings: Findings;
  /** A hello with all that is known here, but for what is said. Both throw Stop, or a Failure to connect. */
  readonly ask: (offer: Partial<Offer> & Pick<Offer, 'versions'>) => Promise<Reply>;
  /** A handshake with penstock's own settings, but for what is said; with `verify` the certificate is judged. */
  readonly shake: (options: Partial<HandshakeOptions> & { verify?: boolean }) => Promise<Handshake>;
};

export function createAsker(questions: Questions, findings: Findings): Asker {
  const { way, name, maxConnections, maxMs } = questions;
  const endsAt = performance.now() + maxMs;
  const spend = () => {
    if (findings.connections >= maxConnections) {
      throw new Stop(`it ended after ${maxConnections} connections: --connections allows more`);
    }
    if (performance.now() > endsAt) throw new Stop(`it ended after ${maxMs / 1000} s`);
    findings.connections += 1;
  };
  const alpn = () => (findings.demandsAlpn ? questions.protocols : questions.alpn);
  return {
    questions,
    findings,
    ask(offer) {
      spend();
      const { ciphers13, ciphers12, groups, signatureAlgorithms } = questions;
      const ciphers = [...ciphers13, ...ciphers12];
      return ask(way, { ciphers, groups, signatureAlgorithms, name, alpn: alpn(), ...offer });
    },
    shake(options) {
      spend();
      return shakeHands(way, {
        name,
        // Making a trust store of the system's roots takes longer than the handshake, so it is done where it is looked at.
        anchors: options.verify ? questions.anchors : [],
        credential: questions.credential,
        alpn: alpn(),
        versions: { min: 'TLSv1.2', max: 'TLSv1.3' },
        ciphers: questions.ownCiphers,
        ...options,
      });
    },
  };
}
