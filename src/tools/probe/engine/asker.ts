/** Asks questions: limits connections and time, and fills in what all questions share. */

import type { Offer } from '../../../peek/write-hello.ts';
import { ask, type Reply } from './ask.ts';
import type { Findings, Questions } from './findings.ts';
import { type Handshake, type HandshakeOptions, shakeHands } from './handshake.ts';

/** Ends the survey: no connections or no time left. */
export class Stop extends Error {}

export type Asker = {
  readonly questions: Questions;
  readonly findings: Findings;
  /**
   * Sends a hello with everything we know, except as given. Both methods throw Stop, or a Failure to connect.
   */
  readonly ask: (offer: Partial<Offer> & Pick<Offer, 'versions'>) => Promise<Reply>;
  /**
   * Makes a handshake with penstock's own settings, except as given; with `verify` the certificate is
   * verified.
   */
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
        // Building a trust store from the system's roots takes longer than the handshake, so it is only done
        // when needed.
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
