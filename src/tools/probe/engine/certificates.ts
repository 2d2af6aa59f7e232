/** Finds the server's certificates, one per key type, and whether it asks for ours. */
import { X509Certificate } from 'node:crypto';
import { isNamed } from '../../../x509/is-named.ts';
import type { Asker } from './asker.ts';
import { followChain, judgeChain, parseCertificates } from './chain.ts';
import type { Findings, FoundCertificate } from './findings.ts';
import type { Handshake } from './handshake.ts';

/**
 * Fills in `own`, `lenient`, `certificates`, `request`, `clientCertificate`, and the resumption of TLS 1.3.
 */
export async function askCertificates(asker: Asker): Promise<void> {
  const { shake, findings, questions } = asker;
  const anchors = questions.anchors.map((pem) => new X509Certificate(pem));
  const note = (handshake: Handshake) => noteCertificate(handshake, anchors, asker);
  let own = await shake({ verify: true, linger: true });
  if (
    own.failure === 'alert_no_application_protocol' &&
    questions.alpn.length === 0 &&
    !findings.demandsAlpn
  ) {
    findings.demandsAlpn = true;
    own = await shake({ verify: true, linger: true });
  }
  findings.own = own;
  findings.request = own.request;
  findings.clientCertificate = judgeClient(own, questions.credential !== undefined);
  note(own);
  if (own.version === undefined && own.request === undefined) {
    findings.lenient = await shake({
      verify: true,
      ciphers: 'ALL:@SECLEVEL=0',
      versions: { min: 'TLSv1', max: 'TLSv1.3' },
    });
    note(findings.lenient);
  }
  if (own.session) {
    if (own.version === 'TLSv1.3')
      findings.resumption.tls13 = (await shake({ session: own.session })).resumed;
  } else if (own.failure === undefined && own.version === 'TLSv1.3') {
    findings.resumption.tls13 = false;
  }
  await askOtherKeys(asker, note);
}

/** Signature algorithms by key type; offering those of a type not seen yet reveals its certificate. */
const algorithms: Readonly<Record<string, string>> = {
  ec: 'ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512',
  rsa: 'rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512',
  'rsa-pss': 'rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512',
  ed25519: 'ed25519',
  ed448: 'ed448',
};

async function askOtherKeys(
  { shake, findings: { certificates, lenient } }: Asker,
  note: (handshake: Handshake) => boolean,
): Promise<void> {
  if (lenient || certificates.length === 0) return;
  for (let found = true; found; ) {
    const seen: (string | undefined)[] = certificates.map(({ leaf }) => leaf.publicKey.asymmetricKeyType);
    const others = Object.keys(algorithms).filter((type) => !seen.includes(type));
    found = note(await shake({ verify: true, sigalgs: others.map((type) => algorithms[type]).join(':') }));
  }
}

/** Returns whether the handshake showed a new certificate. */
function noteCertificate(
  handshake: Handshake,
  anchors: readonly X509Certificate[],
  { findings, questions: { host } }: Asker,
): boolean {
  const sent = parseCertificates(handshake.certificates);
  const [leaf] = sent;
  if (!leaf || findings.certificates.some((known) => known.leaf.raw.equals(leaf.raw))) return false;
  const chain = followChain(sent, anchors);
  const fault = handshake.chainError === undefined ? judgeChain(chain) : (handshake.chainError ?? undefined);
  const named = host === undefined ? undefined : isNamed(leaf, host);
  findings.certificates.push({ leaf, sent, chain, fault, named } satisfies FoundCertificate);
  return true;
}

/** TLS 1.2 servers refuse within the handshake, TLS 1.3 servers right after it. */
function judgeClient(
  { request, failure, version }: Handshake,
  hasCredential: boolean,
): Findings['clientCertificate'] {
  if (!request) return undefined;
  if (failure === undefined) return hasCredential ? 'accepted' : 'optional';
  if (version !== undefined && !failure.startsWith('alert_')) return 'unclear';
  return hasCredential ? 'refused' : 'required';
}
