/**
 * What clients ask of the endpoints of a soak, and what those answer.
 *
 * client → endpoint: a request of 32 bytes, then `up` bytes of the stream of `seed`.
 * endpoint → client: a greeting of 64 bytes; then for an echo what came; else `down` bytes of the stream of `seed + 1` and a
 * verdict of 16 bytes.
 */
export type Request = {
  readonly kind: 'echo' | 'exchange';
  /** Of the visit: endpoints name it when they find a fault. */
  readonly visit: number;
  readonly seed: number;
  readonly up: number;
  readonly down: number;
  /** The endpoint answers only after the client's FIN. */
  readonly halfClose: boolean;
  /** The endpoint sends the first FIN, right behind its verdict. */
  readonly endpointEnds: boolean;
};

export const requestLength = 32;
export const greetingLength = 64;
export const verdictLength = 16;

export function encodeRequest(request: Request): Buffer {
  const bytes = Buffer.alloc(requestLength);
  bytes.write('SOAK', 'latin1');
  for (const [index, key] of (['visit', 'seed', 'up', 'down'] as const).entries()) {
    bytes.writeUInt32BE(request[key], 4 + 4 * index);
  }
  bytes[20] = request.kind === 'echo' ? 1 : 0;
  bytes[21] = Number(request.halfClose);
  bytes[22] = Number(request.endpointEnds);
  return bytes;
}

/** Undefined if it is none. */
export function decodeRequest(bytes: Buffer): Request | undefined {
  if (bytes.toString('latin1', 0, 4) !== 'SOAK') return undefined;
  return {
    kind: bytes[20] === 1 ? 'echo' : 'exchange',
    visit: bytes.readUInt32BE(4),
    seed: bytes.readUInt32BE(8),
    up: bytes.readUInt32BE(12),
    down: bytes.readUInt32BE(16),
    halfClose: bytes[21] === 1,
    endpointEnds: bytes[22] === 1,
  };
}

/** Who answers, and who its client is by the PROXY header ('' without one). */
export type Greeting = { readonly label: string; readonly client: string };

export function encodeGreeting({ label, client }: Greeting): Buffer {
  const bytes = Buffer.alloc(greetingLength);
  bytes.write(`${label} ${client}\n`, 'latin1');
  return bytes;
}

export function decodeGreeting(bytes: Buffer): Greeting {
  const [label = '', client = ''] = bytes.toString('latin1').split('\n')[0]?.split(' ') ?? [];
  return { label, client };
}

/** That an endpoint has had all bytes of a request, each as it should be. */
export function encodeVerdict(received: number): Buffer {
  const bytes = Buffer.alloc(verdictLength);
  bytes.write('DONE', 'latin1');
  bytes.writeUInt32BE(received, 4);
  return bytes;
}

/** How many bytes it had; undefined if it is no verdict. */
export function decodeVerdict(bytes: Buffer): number | undefined {
  return bytes.toString('latin1', 0, 4) === 'DONE' ? bytes.readUInt32BE(4) : undefined;
}
