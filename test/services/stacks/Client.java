/** A client of JSSE: `java Client.java CA CERT KEY`, then attempts of four words each; see refused-clients-name-the-alert.services.ts. */
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.*;
import java.util.*;
import javax.net.ssl.*;

public class Client {
  public static void main(String[] args) throws Exception {
    CertificateFactory x509 = CertificateFactory.getInstance("X.509");
    KeyStore keys = KeyStore.getInstance("PKCS12");
    keys.load(null, null);
    keys.setKeyEntry("own", key(args[2]), new char[0], new java.security.cert.Certificate[] {read(x509, args[1])});
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    trusted.setCertificateEntry("ca", read(x509, args[0]));
    KeyManagerFactory own = KeyManagerFactory.getInstance("SunX509");
    own.init(keys, new char[0]);
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(trusted);
    SSLContext context = SSLContext.getInstance("TLSv1.3");
    context.init(own.getKeyManagers(), trust.getTrustManagers(), null);
    for (int i = 3; i < args.length; i += 4) {
      int count = Integer.parseInt(args[i + 3]);
      for (int n = 0; n < count; n++) attempt(context, Integer.parseInt(args[i]), args[i + 1], args[i + 2]);
    }
  }

  static void attempt(SSLContext context, int port, String name, String mode) {
    try (Socket tcp = new Socket("127.0.0.1", port)) {
      SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(tcp, name, port, true);
      socket.setSoTimeout(10000);
      socket.startHandshake();
      if (mode.equals("speaks")) socket.getOutputStream().write("ping".getBytes());
      byte[] answer = socket.getInputStream().readNBytes(4);
      System.out.println(name + " got " + new String(answer));
      socket.close();
    } catch (Exception error) {
      System.out.println(name + " failed " + error.getMessage());
    }
  }

  static java.security.cert.Certificate read(CertificateFactory x509, String file) throws Exception {
    try (InputStream in = new FileInputStream(file)) {
      return x509.generateCertificate(in);
    }
  }

  static PrivateKey key(String file) throws Exception {
    String pem = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----|\\s", "");
    return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
  }
}
