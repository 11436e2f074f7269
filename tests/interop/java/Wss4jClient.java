import java.io.StringReader;
import java.io.StringWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import javax.security.auth.callback.CallbackHandler;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.transform.OutputKeys;
import javax.xml.transform.Transformer;
import javax.xml.transform.TransformerFactory;
import javax.xml.transform.dom.DOMSource;
import javax.xml.transform.stream.StreamResult;
import org.apache.ws.security.WSConstants;
import org.apache.ws.security.WSDataRef;
import org.apache.ws.security.WSPasswordCallback;
import org.apache.ws.security.WSSecurityEngine;
import org.apache.ws.security.WSSecurityEngineResult;
import org.apache.ws.security.components.crypto.Merlin;
import org.apache.ws.security.handler.RequestData;
import org.apache.ws.security.handler.WSHandler;
import org.apache.ws.security.message.token.SignatureConfirmation;
import org.apache.ws.security.util.WSSecurityUtil;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.xml.sax.InputSource;

/**
 * Signs a message with WSS4J, posts it over mutual TLS, and verifies the answer with WSS4J.
 *
 * <p>Words {@code name=value}: url, action, unsigned (a file: envelope with addressing headers, without Security), ca, key, cert (PEM), hub
 * (OIN). What a test wants otherwise: defaults (names of settings to be left as WSS4J itself has them), also (further addressing headers to
 * be signed), forge (a text of the answer, to be changed before it is read); or received (a file with an envelope of the hub, only to be
 * verified). Prints lines {@code name=value}.
 */
public final class Wss4jClient {
    private static final String WSA = "http://www.w3.org/2005/08/addressing";
    private static final String SOAP = "http://schemas.xmlsoap.org/soap/envelope/";
    private static final String SIGNATURE_PARTS = "{Element}{" + SOAP + "}Body;{Element}{" + WSConstants.WSU_NS + "}Timestamp;"
            + "{Element}{" + WSA + "}To;{Element}{" + WSA + "}From;{Element}{" + WSA + "}Action;{Element}{" + WSA + "}MessageID";
    private static final char[] PASSWORD = "in memory only".toCharArray();

    private final Map<String, String> given = new HashMap<>();
    private final Merlin crypto = new Merlin();
    private final KeyStore own = KeyStore.getInstance("PKCS12");
    private final KeyStore trusted = KeyStore.getInstance("PKCS12");
    private byte[] signatureValue;

    public static void main(String[] words) throws Exception {
        new Wss4jClient(words).run();
    }

    private Wss4jClient(String[] words) throws Exception {
        for (String word : words) {
            given.put(word.substring(0, word.indexOf('=')), word.substring(word.indexOf('=') + 1));
        }
        own.load(null);
        String key = Files.readString(Path.of(given.get("key"))).replaceAll("-----[^-]+-----|\\s", "");
        PrivateKey secret = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(key)));
        own.setKeyEntry("own", secret, PASSWORD, certificates("cert"));
        trusted.load(null);
        for (Certificate certificate : certificates("ca")) {
            trusted.setCertificateEntry(Integer.toString(trusted.size()), certificate);
        }
        crypto.setKeyStore(own);
        crypto.setTrustStore(trusted);
    }

    private Certificate[] certificates(String name) throws Exception {
        try (var in = Files.newInputStream(Path.of(given.get(name)))) {
            return CertificateFactory.getInstance("X.509").generateCertificates(in).toArray(new Certificate[0]);
        }
    }

    private void run() throws Exception {
        if (given.containsKey("received")) {
            Document envelope = parse(Files.readString(Path.of(given.get("received"))));
            List<WSSecurityEngineResult> results = new WSSecurityEngine().processSecurityHeader(envelope, null, null, crypto);
            System.out.println("verified=" + String.join(" ", signedParts(envelope, results)));
            return;
        }
        Document message = parse(Files.readString(Path.of(given.get("unsigned"))));
        sign(message);
        HttpResponse<String> answer = post(serialise(message));
        System.out.println("status=" + answer.statusCode());
        Document read = parse(answer.body().replace(given.getOrDefault("forge", "\0"), "forged"));
        System.out.println("verified=" + String.join(" ", verify(read, message)));
        for (String name : List.of("ontvangstBevestiging", "referentie", "faultcode", "faultstring")) {
            Node found = read.getElementsByTagNameNS("*", name).item(0);
            if (found != null) {
                System.out.println(name + "=" + found.getTextContent());
            }
        }
    }

    /** By the names that CXF's WSS4JOutInterceptor takes too: see docs/connecting-a-party.md. */
    private void sign(Document message) throws Exception {
        Map<String, Object> settings = new HashMap<>();
        settings.put("action", "Timestamp Signature");
        settings.put("user", "own");
        settings.put("signatureKeyIdentifier", "DirectReference");
        settings.put("signatureAlgorithm", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256");
        settings.put("signatureDigestAlgorithm", "http://www.w3.org/2001/04/xmlenc#sha256");
        settings.put("signatureParts", SIGNATURE_PARTS);
        settings.put("signaturePropRefId", "crypto");
        settings.put("crypto", crypto);
        settings.put("passwordCallbackRef", (CallbackHandler) asked -> ((WSPasswordCallback) asked[0]).setPassword(new String(PASSWORD)));
        for (String name : given.getOrDefault("also", "").split(" ")) {
            settings.computeIfPresent("signatureParts", (key, parts) -> name.isEmpty() ? parts : parts + ";{Element}{" + WSA + "}" + name);
        }
        for (String name : given.getOrDefault("defaults", "").split(" ")) {
            settings.remove(name);
        }
        new Out(settings).send(message);
        Node value = message.getElementsByTagNameNS(WSConstants.SIG_NS, "SignatureValue").item(0);
        signatureValue = Base64.getMimeDecoder().decode(value.getTextContent());
    }

    /** What CXF's interceptor is: WSS4J's handler over a message's settings. */
    private static final class Out extends WSHandler {
        private final Map<String, Object> settings;

        Out(Map<String, Object> settings) {
            this.settings = settings;
        }

        void send(Document message) throws Exception {
            RequestData request = new RequestData();
            request.setMsgContext(settings);
            request.setUsername((String) settings.get("user"));
            List<Integer> actions = new ArrayList<>();
            int action = WSSecurityUtil.decodeAction((String) settings.get("action"), actions);
            doSenderAction(action, message, request, actions, true);
        }

        @Override
        public Object getOption(String name) {
            return settings.get(name);
        }

        @Override
        public Object getProperty(Object context, String name) {
            return settings.get(name);
        }

        @Override
        public void setProperty(Object context, String name, Object value) {
            settings.put(name, value);
        }

        @Override
        public String getPassword(Object context) {
            return null;
        }

        @Override
        public void setPassword(Object context, String password) {
            throw new UnsupportedOperationException();
        }
    }

    private HttpResponse<String> post(String body) throws Exception {
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, PASSWORD);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        SSLContext tls = SSLContext.getInstance("TLS");
        tls.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        HttpRequest request = HttpRequest.newBuilder(URI.create(given.get("url")))
                .timeout(Duration.ofSeconds(20))
                .header("Content-Type", "text/xml; charset=utf-8")
                .header("SOAPAction", '"' + given.get("action") + '"')
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpClient client = HttpClient.newBuilder().sslContext(tls).version(HttpClient.Version.HTTP_1_1).build();
        return client.send(request, HttpResponse.BodyHandlers.ofString());
    }

    /** The parts of an envelope that the hub signed, found by their place. Throws when one is not signed, or not by the hub. */
    private TreeSet<String> signedParts(Document envelope, List<WSSecurityEngineResult> results) throws Exception {
        WSSecurityEngineResult signature = WSSecurityUtil.fetchActionResult(results, WSConstants.SIGN);
        X509Certificate certificate = (X509Certificate) signature.get(WSSecurityEngineResult.TAG_X509_CERTIFICATE);
        String subject = certificate.getSubjectX500Principal().getName("RFC2253", Map.of("2.5.4.5", "serialNumber"));
        require(List.of(subject.split(",")).contains("serialNumber=" + given.get("hub")), "it is not signed by the hub but by " + subject);

        @SuppressWarnings("unchecked")
        List<WSDataRef> references = (List<WSDataRef>) signature.get(WSSecurityEngineResult.TAG_DATA_REF_URIS);
        Element header = child(envelope.getDocumentElement(), SOAP, "Header");
        Element security = child(header, WSConstants.WSSE_NS, "Security");
        List<Element> parts = new ArrayList<>(List.of(child(envelope.getDocumentElement(), SOAP, "Body")));
        parts.add(child(security, WSConstants.WSU_NS, "Timestamp"));
        for (Node node = header.getFirstChild(); node != null; node = node.getNextSibling()) {
            if (WSA.equals(node.getNamespaceURI())) {
                parts.add((Element) node);
            }
        }
        parts.addAll(children(security, WSConstants.WSSE11_NS, "SignatureConfirmation"));
        TreeSet<String> covered = new TreeSet<>();
        for (Element part : parts) {
            require(references.stream().anyMatch(one -> one.getProtectedElement() == part), part.getLocalName() + " is not signed");
            covered.add(part.getLocalName());
        }
        return covered;
    }

    /** The signed parts of an answer. Throws when it is not the hub's answer to this message. */
    private TreeSet<String> verify(Document answer, Document message) throws Exception {
        List<WSSecurityEngineResult> results = new WSSecurityEngine().processSecurityHeader(answer, null, null, crypto);
        WSSecurityEngineResult confirmed = WSSecurityUtil.fetchActionResult(results, WSConstants.SC);
        SignatureConfirmation confirmation = (SignatureConfirmation) confirmed.get(WSSecurityEngineResult.TAG_SIGNATURE_CONFIRMATION);
        require(Arrays.equals(confirmation.getSignatureValue(), signatureValue), "it confirms another signature");
        String asked = child(child(message.getDocumentElement(), SOAP, "Header"), WSA, "MessageID").getTextContent();
        Element header = child(answer.getDocumentElement(), SOAP, "Header");
        require(asked.equals(child(header, WSA, "RelatesTo").getTextContent()), "it answers another message");
        return signedParts(answer, results);
    }

    private static void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new IllegalStateException("this cannot be trusted: " + otherwise);
        }
    }

    private static Element child(Element parent, String namespace, String name) {
        List<Element> found = children(parent, namespace, name);
        require(found.size() == 1, parent.getLocalName() + " must hold one " + name);
        return found.get(0);
    }

    private static List<Element> children(Element parent, String namespace, String name) {
        List<Element> found = new ArrayList<>();
        for (Node node = parent.getFirstChild(); node != null; node = node.getNextSibling()) {
            if (namespace.equals(node.getNamespaceURI()) && name.equals(node.getLocalName())) {
                found.add((Element) node);
            }
        }
        return found;
    }

    private static Document parse(String xml) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        factory.setFeature("http://apache.org/xml/features/disallow-doctype-decl", true);
        return factory.newDocumentBuilder().parse(new InputSource(new StringReader(xml)));
    }

    private static String serialise(Document message) throws Exception {
        Transformer transformer = TransformerFactory.newInstance().newTransformer();
        transformer.setOutputProperty(OutputKeys.OMIT_XML_DECLARATION, "yes");
        StringWriter out = new StringWriter();
        transformer.transform(new DOMSource(message), new StreamResult(out));
        return out.toString();
    }
}
