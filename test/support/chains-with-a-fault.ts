/** Certificates and lists that cause OpenSSL's verify errors, each with the authority that they are held against. */
import type { ConnectionCode } from '../../src/errors.ts';
import { type Authority, type Credential, createAuthority, selfSigned } from './certificates.ts';
import { opensslCertificate, opensslCrl, type Recipe } from './openssl-ca.ts';
import { reissued } from './reissued.ts';

export type FaultyChain = {
  readonly trusted: readonly Credential[];
  readonly presented: Credential;
  readonly crl?: readonly string[];
  /** What it is called; ERR_CLIENT_CERT_UNTRUSTED by default. */
  readonly code?: ConnectionCode;
  /** As an upstream's, where that differs: nothing there knows the authority's lists, or what it signed. */
  readonly ofUpstream?: string;
};

export const ca = ['basicConstraints = critical,CA:TRUE', 'subjectKeyIdentifier = hash'];
/** A leaf's, for both sides of TLS. */
const leafExtensions = ['basicConstraints = critical,CA:FALSE', 'extendedKeyUsage = clientAuth,serverAuth'];
const rsa1024 = ['rsa:1024'];
const explicitCurve = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt', 'ec_param_enc:explicit'];

/** The tools that all of them are made with; files are left in the directory. */
function workshop(directory: string) {
  const make = (cn: string, recipe: Recipe) => opensslCertificate(directory, cn, recipe);
  const root = make('Root', { extensions: ca });
  const leafOf = (by: Credential, extensions: readonly string[] = [], rest: Recipe = {}): Credential =>
    make('leaf', { by, extensions: [...leafExtensions, ...extensions], ...rest });
  return {
    make,
    root,
    leafOf,
    leaf: leafOf(root),
    list: (extensions: readonly string[] = [], by = root) => opensslCrl(directory, by, extensions),
    /** A leaf with these extensions, below an intermediate with those. */
    below(
      extensions: readonly string[],
      ofLeaf: readonly string[] = [],
      rest: Recipe = {},
      top = root,
    ): FaultyChain {
      const middle = make('Middle', { by: top, extensions: [...ca, ...extensions], ...rest });
      return { trusted: [top], presented: leafOf(middle, ofLeaf) };
    },
    /** A leaf below an intermediate that was changed after the leaf was issued. */
    belowChanged(change: (signed: Buffer) => void, extensions: readonly string[] = []): FaultyChain {
      const middle = make('Middle', { by: root, extensions: [...ca, ...extensions] });
      const leaf = leafOf(middle);
      return {
        trusted: [root],
        presented: { ...leaf, chain: leaf.cert + reissued(middle.cert, root.key, change) },
      };
    },
    /** A leaf of the root's that was changed. */
    changed(change: (signed: Buffer) => void, extensions: readonly string[] = []): FaultyChain {
      const leaf = leafOf(root, extensions);
      const cert = reissued(leaf.cert, root.key, change);
      return { trusted: [root], presented: { ...leaf, cert, chain: cert } };
    },
  };
}
type Workshop = ReturnType<typeof workshop>;

/** By the error that each is to cause; where one can be caused in several ways, a comma and which it is. */
export async function faultyChains(directory: string): Promise<Record<string, FaultyChain>> {
  const tools = workshop(directory);
  return {
    ...withoutIssuer(tools),
    ...(await authorities()),
    ...withWeakKeys(tools),
    ...withDates(tools),
    ...withPurposes(tools),
    ...ofProxies(tools),
    ...withNameConstraints(tools),
    ...withExtensions(tools),
    ...withLists(tools),
  };
}

function withoutIssuer({ make, root, leafOf }: Workshop): Record<string, FaultyChain> {
  const other = make('Other', { extensions: ca });
  const middle = make('Middle', { by: root, extensions: ca });
  const withoutKeyIdentifiers = [
    'basicConstraints = critical,CA:TRUE',
    'subjectKeyIdentifier = none',
    'authorityKeyIdentifier = none',
  ];
  const plain = make('Plain', { extensions: withoutKeyIdentifiers });
  const plainTwin = make('Plain', { extensions: withoutKeyIdentifiers });
  const alone = leafOf(middle);
  return {
    CERT_SIGNATURE_FAILURE: {
      trusted: [plain],
      presented: leafOf(plainTwin, ['authorityKeyIdentifier = none']),
    },
    SELF_SIGNED_CERT_IN_CHAIN: {
      trusted: [root],
      presented: leafOf({ ...other, chain: other.cert }),
    },
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: { trusted: [root], presented: leafOf(other) },
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY: {
      trusted: [root],
      presented: leafOf(make('M', { by: other, extensions: ca })),
    },
    UNABLE_TO_GET_ISSUER_CERT: { trusted: [middle], presented: { ...alone, chain: alone.cert } },
  };
}

/** What needs no `openssl`: hundreds of processes would take long. */
async function authorities(): Promise<Record<string, FaultyChain>> {
  const root = await createAuthority({ name: 'Top' });
  let lowest: Authority = root;
  for (let level = 0; level <= 100; level++) {
    lowest = await createAuthority({ name: `Level ${level}`, parent: lowest });
  }
  const leaf = await root.issue({ cn: 'leaf' });
  return {
    DEPTH_ZERO_SELF_SIGNED_CERT: { trusted: [root], presented: await selfSigned({ cn: 'x' }) },
    CERT_CHAIN_TOO_LONG: { trusted: [root], presented: await lowest.issue({ cn: 'leaf' }) },
    CERT_REVOKED: {
      trusted: [root],
      presented: leaf,
      crl: [await root.crl([leaf.serial])],
      code: 'ERR_CLIENT_CERT_REVOKED',
    },
  };
}

function withWeakKeys({ root, leafOf, below }: Workshop): Record<string, FaultyChain> {
  return {
    EE_KEY_TOO_SMALL: { trusted: [root], presented: leafOf(root, [], { newKey: rsa1024 }) },
    CA_KEY_TOO_SMALL: below([], [], { newKey: rsa1024 }),
    CA_MD_TOO_WEAK: { trusted: [root], presented: leafOf(root, [], { digest: 'sha1' }) },
    EC_KEY_EXPLICIT_PARAMS: { trusted: [root], presented: leafOf(root, [], { newKey: explicitCurve }) },
    'EC_KEY_EXPLICIT_PARAMS, of a CA': below([], [], { newKey: explicitCurve }),
  };
}

/** Changes of the dates, which are UTCTimes: 0 is the first of them, 1 the second. */
const dated = (which: 0 | 1, text: string) => (signed: Buffer) => {
  const times = [...signed.toString('latin1').matchAll(/\d{12}Z/g)];
  signed.write(text, times[which]?.index ?? 0, 'latin1');
};
const [past, future, noDate] = ['200102030405Z', '490102030405Z', '2X0102030405Z'] as const;

function withDates({ belowChanged, changed }: Workshop): Record<string, FaultyChain> {
  return {
    CERT_HAS_EXPIRED: { ...changed(dated(1, past)), code: 'ERR_CLIENT_CERT_EXPIRED' },
    'CERT_HAS_EXPIRED, a CA': { ...belowChanged(dated(1, past)), code: 'ERR_CLIENT_CERT_EXPIRED' },
    CERT_NOT_YET_VALID: { ...changed(dated(0, future)), code: 'ERR_CLIENT_CERT_NOT_YET_VALID' },
    'CERT_NOT_YET_VALID, a CA': { ...belowChanged(dated(0, future)), code: 'ERR_CLIENT_CERT_NOT_YET_VALID' },
    ERROR_IN_CERT_NOT_BEFORE_FIELD: belowChanged(dated(0, noDate)),
    ERROR_IN_CERT_NOT_AFTER_FIELD: belowChanged(dated(1, noDate)),
  };
}

function withPurposes({ make, root, leafOf, below }: Workshop): Record<string, FaultyChain> {
  const short = make('Short', { extensions: ['basicConstraints = critical,CA:TRUE,pathlen:0'] });
  return {
    PATH_LENGTH_EXCEEDED: {
      trusted: [short],
      presented: leafOf(make('Between', { by: short, extensions: ca })),
    },
    INVALID_CA: {
      trusted: [root],
      presented: leafOf(make('No CA', { by: root, extensions: ['basicConstraints = CA:FALSE'] })),
    },
    INVALID_PURPOSE: { ...below(['extendedKeyUsage = codeSigning']), code: 'ERR_CLIENT_CERT_PURPOSE' },
    KEYUSAGE_NO_CERTSIGN: below(['keyUsage = critical,cRLSign']),
  };
}

/** Proxy certificates (RFC 3820): issued by who is no CA, under its own name and one more. */
function ofProxies({ make, root }: Workshop): Record<string, FaultyChain> {
  const proxy = (name: string, by: Credential, rest = ''): Credential =>
    make(name, {
      by,
      extensions: [...leafExtensions, `proxyCertInfo = critical,language:id-ppl-anyLanguage${rest}`],
    });
  const person = make('person', { by: root, extensions: leafExtensions });
  const cannotSign = make('person', {
    by: root,
    extensions: [...leafExtensions, 'keyUsage = critical,keyAgreement'],
  });
  const of = (presented: Credential): FaultyChain => ({ trusted: [root], presented });
  return {
    PROXY_CERTIFICATES_NOT_ALLOWED: of(proxy('person/CN=proxy', person)),
    PROXY_SUBJECT_NAME_VIOLATION: of(proxy('somebody', person)),
    PROXY_PATH_LENGTH_EXCEEDED: of(
      proxy('person/CN=proxy/CN=proxy', proxy('person/CN=proxy', person, ',pathlen:0')),
    ),
    KEYUSAGE_NO_DIGITAL_SIGNATURE: of(proxy('person/CN=proxy', cannotSign)),
    INVALID_NON_CA: of(proxy('Root/CN=proxy', root)),
  };
}

function withNameConstraints({ below }: Workshop): Record<string, FaultyChain> {
  const constrained = (constraints: string, name: string) =>
    below([`nameConstraints = critical,${constraints}`], [`subjectAltName = ${name}`]);
  return {
    PERMITTED_VIOLATION: constrained('permitted;DNS:ours.example', 'DNS:a.theirs.example'),
    EXCLUDED_VIOLATION: constrained('excluded;DNS:theirs.example', 'DNS:a.theirs.example'),
    // NameConstraints { permitted { { dNSName ours.example, minimum 1 } } }
    SUBTREE_MINMAX: constrained('DER:3015a0133011820c6f7572732e6578616d706c65800101', 'DNS:a.ours.example'),
    UNSUPPORTED_CONSTRAINT_TYPE: constrained('permitted;RID:1.2.3', 'RID:1.2.3'),
    UNSUPPORTED_NAME_SYNTAX: constrained('permitted;URI:ours.example', 'URI:urn:x'),
    'UNSUPPORTED_NAME_SYNTAX, e-mail': constrained('permitted;email:ours.example', 'email:x'),
    // NameConstraints { permitted { { iPAddress 1.2.3.4, without a mask } } }
    'UNSUPPORTED_NAME_SYNTAX, of the constraint': constrained('DER:300aa0083006870401020304', 'IP:1.2.3.4'),
  };
}

/** Changes the authorityKeyIdentifier: SEQUENCE { [0] of 20 bytes }. */
function anotherIssuer(signed: Buffer): void {
  const at = signed.indexOf(Buffer.from('30168014', 'hex')) + 4;
  signed[at] = 255 - (signed[at] ?? 0);
}

/** Gives the extension 1.2.3.4 the number of the subjectKeyIdentifier. */
function keyIdentifierTwice(signed: Buffer): void {
  signed.write('551d0e', signed.indexOf(Buffer.from('06032a0304', 'hex')) + 2, 'hex');
}

function withExtensions({
  make,
  root,
  leafOf,
  below,
  belowChanged,
  changed,
}: Workshop): Record<string, FaultyChain> {
  const numbered = (numbers: string) => `sbgp-autonomousSysNum = critical,${numbers}`;
  const registry = make('Registry', { extensions: [...ca, numbered('AS:1-9')] });
  const unread = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE';
  return {
    UNHANDLED_CRITICAL_EXTENSION: {
      trusted: [root],
      presented: leafOf(root, ['1.2.3.4 = critical,ASN1:NULL']),
    },
    UNNESTED_RESOURCE: below([numbered('AS:1-5')], [numbered('AS:9')], {}, registry),
    // ASIdentifiers { asnum { 1, 2 } }, where RFC 3779 §3.3 wants 1-2
    INVALID_EXTENSION: below([numbered('AS:1-5')], [numbered('DER:300aa0083006020101020102')], {}, registry),
    'INVALID_EXTENSION, which cannot be read': {
      trusted: [root],
      presented: leafOf(root, ['crlDistributionPoints = ASN1:NULL']),
      ofUpstream: unread,
    },
    'INVALID_EXTENSION, its issuer has another key identifier': {
      ...changed(anotherIssuer, ['authorityKeyIdentifier = keyid']),
      ofUpstream: unread,
    },
    'INVALID_EXTENSION, the same of a CA': {
      ...belowChanged(anotherIssuer, ['authorityKeyIdentifier = keyid']),
      ofUpstream: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    },
    'INVALID_EXTENSION, a CA has one twice': belowChanged(keyIdentifierTwice, ['1.2.3.4 = ASN1:NULL']),
  };
}

function withLists({ make, root, leaf, leafOf, list }: Workshop): Record<string, FaultyChain> {
  const of = (crl: string): FaultyChain => ({ trusted: [root], presented: leaf, crl: [crl] });
  const other = make('Other', { extensions: ca });
  const namesake = make('Root', { extensions: ['basicConstraints = critical,CA:TRUE'] });
  const signsNoLists = make('No lists', { extensions: [...ca, 'keyUsage = critical,keyCertSign'] });
  const signedAnew = (change: (signed: Buffer) => void) => of(reissued(list(), root.key, change));
  return {
    UNABLE_TO_GET_CRL: of(list([], other)),
    DIFFERENT_CRL_SCOPE: {
      ...of(list(['issuingDistributionPoint = critical,onlyuser:TRUE'])),
      ofUpstream: 'UNABLE_TO_GET_CRL',
    },
    UNHANDLED_CRITICAL_CRL_EXTENSION: of(list(['1.2.3.4 = critical,ASN1:NULL'])),
    CRL_SIGNATURE_FAILURE: of(list([], namesake)),
    KEYUSAGE_NO_CRL_SIGN: {
      trusted: [signsNoLists],
      presented: leafOf(signsNoLists),
      crl: [list([], signsNoLists)],
    },
    CRL_HAS_EXPIRED: { ...signedAnew(dated(1, past)), code: 'ERR_CRL_EXPIRED' },
    CRL_NOT_YET_VALID: { ...signedAnew(dated(0, future)), code: 'ERR_CRL_EXPIRED' },
    ERROR_IN_CRL_LAST_UPDATE_FIELD: signedAnew(dated(0, noDate)),
    ERROR_IN_CRL_NEXT_UPDATE_FIELD: signedAnew(dated(1, noDate)),
  };
}
