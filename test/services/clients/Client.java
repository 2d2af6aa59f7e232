// Java's JSSE. Words and output: client.h; `cert` is a PKCS #12 file with the password `matrix`.
import java.io.FileInputStream;
import java.net.Socket;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;

class Client {
  static final char[] password = "matrix".toCharArray();
  static final Map<String, String> asked = new HashMap<>(Map.of("connections", "1", "bytes", "100", "do", "echo"));

  public static void main(String[] words) throws Exception {
    for (String word : words) asked.put(word.split("=", 2)[0], word.split("=", 2)[1]);
    // The one way to a KeyUpdate: after so many bytes under one key.
    if (asked.get("do").equals("keyupdate"))
      Security.setProperty("jdk.tls.keyLimits", "AES/GCM/NoPadding KeyUpdate 2^12");
    byte[] payload = new byte[Integer.parseInt(asked.get("bytes"))];
    Arrays.fill(payload, (byte) '.');
    byte[] name = asked.get("name").getBytes();
    System.arraycopy(name, 0, payload, 0, name.length);
    SSLContext context = context();
    for (int i = Integer.parseInt(asked.get("connections")); i > 0; i--) {
      try {
        converse(context, payload);
      } catch (Exception error) {
        System.out.println("failed " + error.getMessage());
      }
    }
  }

  static SSLContext context() throws Exception {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    try (FileInputStream file = new FileInputStream(asked.get("ca"))) {
      trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(trusted);
    KeyManager[] keys = asked.containsKey("cert") ? new KeyManager[] {new Always(asked.get("cert"))} : null;
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys, trust.getTrustManagers(), null);
    return context;
  }

  static void converse(SSLContext context, byte[] payload) throws Exception {
    long begun = System.currentTimeMillis();
    Socket raw = new Socket("127.0.0.1", Integer.parseInt(asked.get("port")));
    SSLSocket socket =
        (SSLSocket) context.getSocketFactory().createSocket(raw, asked.get("name"), raw.getPort(), true);
    SSLParameters parameters = socket.getSSLParameters();
    parameters.setEndpointIdentificationAlgorithm("HTTPS");
    parameters.setProtocols(new String[] {"TLSv" + asked.get("version")});
    socket.setSSLParameters(parameters);
    socket.startHandshake();
    // It does not say whether a session was resumed; one that was is older than its connection.
    boolean resumed = socket.getSession().getCreationTime() < begun;
    System.out.println("connected " + socket.getSession().getProtocol() + (resumed ? " resumed" : " full"));
    for (int round = asked.get("do").equals("keyupdate") ? 2 : 1; round > 0; round--) {
      socket.getOutputStream().write(payload);
      socket.getOutputStream().flush();
      if (asked.get("do").equals("reset")) {
        raw.setSoLinger(true, 0);
        raw.close();
        System.out.println("reset");
        return;
      }
      byte[] answer = socket.getInputStream().readNBytes(payload.length);
      if (!Arrays.equals(answer, payload)) throw new Exception("closed");
      System.out.println("echoed " + answer.length);
    }
    socket.close();
  }

  /** The usual one keeps a certificate to itself that is of none of the CAs which the server names. */
  static class Always extends X509ExtendedKeyManager {
    final KeyStore store = KeyStore.getInstance("PKCS12");
    final String alias;

    Always(String path) throws Exception {
      try (FileInputStream file = new FileInputStream(path)) {
        store.load(file, password);
      }
      alias = store.aliases().nextElement();
    }

    public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
      return alias;
    }

    public X509Certificate[] getCertificateChain(String of) {
      try {
        return Arrays.stream(store.getCertificateChain(of)).toArray(X509Certificate[]::new);
      } catch (Exception error) {
        throw new IllegalStateException(error);
      }
    }

    public PrivateKey getPrivateKey(String of) {
      try {
        return (PrivateKey) store.getKey(of, password);
      } catch (Exception error) {
        throw new IllegalStateException(error);
      }
    }

    public String[] getClientAliases(String type, Principal[] issuers) {
      return new String[] {alias};
    }

    public String[] getServerAliases(String type, Principal[] issuers) {
      return null;
    }

    public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
      return null;
    }
  }
}
