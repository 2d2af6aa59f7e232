/** Reads the answer to an HTTP/1.1 request (RFC 9112). Pure: bytes in, a verdict out. */
import { ProxyError } from '../../errors.ts';
import { expecting, maxAnswer } from './expected-answer.ts';

type Wanted = {
  readonly status: readonly { readonly least: number; readonly most: number }[];
  readonly expect: readonly Buffer[];
};

type Parser = (answer: Buffer) => true | undefined;

/**
 * Creates a parser for one answer. Call it each time with all that has arrived so far: it returns true once
 * the status is wanted and the body contains each of `expect`, and throws ERR_UPSTREAM_DOWN for any other
 * answer.
 */
export function answering({ status, expect }: Wanted): Parser {
  // Never searches the same bytes twice, even if the answer trickles in.
  let [from, searched] = [0, 0];
  let body: Parser | undefined;
  return (answer) => {
    while (body === undefined) {
      const end = answer.indexOf(endOfHead, Math.max(from, searched - endOfHead.length));
      searched = answer.length;
      if (end === -1) {
        if (!isPrefix(answer.subarray(from, from + 7))) throw unwanted('it does not answer in HTTP');
        if (answer.length > maxAnswer) throw unwanted(`${maxAnswer} bytes of its answer are no HTTP header`);
        return undefined;
      }
      const head = headOf(answer.toString('latin1', from, end));
      from = end + endOfHead.length;
      // Such as 103 Early Hints: the answer is still to come.
      if (head.status < 200 && head.status !== 101) continue;
      if (!status.some(({ least, most }) => head.status >= least && head.status <= most)) {
        throw unwanted(`it answered with status ${head.status}`);
      }
      if (expect.length === 0) return true;
      body = head.isChunked ? inChunks(expecting(expect)) : expecting(expect);
    }
    return body(answer.subarray(from));
  };
}

const endOfHead = Buffer.from('\r\n\r\n');

function isPrefix(start: Buffer): boolean {
  return 'HTTP/1.'.startsWith(start.toString('latin1'));
}

function headOf(text: string): { status: number; isChunked: boolean } {
  // HTTP-version SP 3DIGIT SP [reason-phrase]
  const [, status] = /^HTTP\/1\.[01] (\d{3})(?: |\r\n|$)/.exec(text) ?? [];
  if (status === undefined) throw unwanted('it does not answer in HTTP');
  return {
    status: Number(status),
    isChunked: /\r\ntransfer-encoding:[^\r\n]*chunked[ \t]*(\r\n|$)/i.test(text),
  };
}

/** Joins the chunks of a body (RFC 9112 §7.1) for a parser of what they contain. */
function inChunks(parse: Parser): Parser {
  const body = Buffer.alloc(maxAnswer + 1);
  let [at, length] = [0, 0];
  return (encoded) => {
    if (encoded.length > 4 * maxAnswer) throw unwanted('its chunks are too many');
    for (;;) {
      // chunk-size [chunk-ext] CRLF chunk-data CRLF
      const end = encoded.indexOf('\r\n', at);
      if (end === -1) {
        if (encoded.length - at > 1024) throw unwanted('its chunks have no length');
        break;
      }
      const [, size] = /^([0-9a-f]{1,6})\s*(;|$)/i.exec(encoded.toString('latin1', at, end)) ?? [];
      if (size === undefined) throw unwanted('its chunks have no length');
      const bytes = Number.parseInt(size, 16);
      const start = end + 2;
      if (encoded.length < start + bytes + 2 && encoded.length - start <= maxAnswer) break;
      length += encoded.copy(body, length, start, start + bytes);
      at = start + bytes + 2;
      if (bytes === 0 || length > maxAnswer) break;
    }
    return parse(body.subarray(0, length));
  };
}

function unwanted(what: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_DOWN', {
    side: 'upstream',
    message: `${what}, and not as health_check says`,
  });
}
