// Hands in a `proef` message with node-soap, and verifies the receipt with xml-crypto: as a supplier would write it.
//
//     node client.cjs '{"wsdl": URL, "to": OIN, "from": OIN, "hub": OIN, "ca": PEM, "key": PEM, "cert": PEM, "document": {...}}'
//
// prints one line of JSON: {"receipt", "messageId", "verified"} or {"fault", "verified"}. Otherwise than
// usual: `messageId`, `token`, `options` and `headers`; and `received`, a file with an envelope of the hub, only to be verified.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const https = require("node:https");
const { DOMParser } = require("@xmldom/xmldom");
const soap = require("soap");
const { SignedXml } = require("xml-crypto");

const WSA = "http://www.w3.org/2005/08/addressing";
const WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const DS = "http://www.w3.org/2000/09/xmldsig#";

/** What WSSecurityCert must be told: see docs/connecting-a-party.md. */
const EDUKOPPELING = {
  hasTimeStamp: true,
  signatureAlgorithm: "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
  signatureTransformations: ["http://www.w3.org/2001/10/xml-exc-c14n#"], // its default has enveloped-signature too
  additionalReferences: ["wsa:To", "wsa:From", "wsa:Action", "wsa:MessageID"],
  signerOptions: { idMode: "wssecurity" }, // wsu:Id, not Id
};

function addressing(given, action) {
  const own = given.headers ?? ["To", "From", "Action", "MessageID"];
  const value = {
    To: `${given.wsdl.split("?")[0]}?oin=${given.to}`,
    From: `<wsa:Address>${WSA}/anonymous?oin=${given.from}</wsa:Address>`,
    Action: action,
    MessageID: given.messageId ?? `urn:uuid:${crypto.randomUUID()}`,
  };
  return own.map((name) => `<wsa:${name} xmlns:wsa="${WSA}" xmlns:wsu="${WSU}">${value[name]}</wsa:${name}>`).join("");
}

const one = (xml, namespace, name) => new DOMParser().parseFromString(xml).getElementsByTagNameNS(namespace, name)[0];

/** The certificate in an envelope. Throws when it is not the hub's, or no CA that we trust gave it. */
function hubCertificate(envelope, given) {
  const certificate = new crypto.X509Certificate(Buffer.from(one(envelope, WSSE, "BinarySecurityToken").textContent, "base64"));
  const trusted = fs.readFileSync(given.ca, "utf8").match(/-----BEGIN[^]+?-----END CERTIFICATE-----/g);
  const issuers = trusted.map((pem) => new crypto.X509Certificate(pem)).filter((ca) => certificate.checkIssued(ca));
  if (!issuers.some((ca) => certificate.verify(ca.publicKey))) throw new Error("the certificate is of somebody else's CA");
  if (Date.parse(certificate.validTo) < Date.now()) throw new Error("the certificate has expired");
  if (!certificate.subject.split("\n").includes(`serialNumber=${given.hub}`)) throw new Error("this is not signed by the hub");
  return certificate;
}

/** The parts of an envelope that the hub's signature covers, by name: read nothing else. Throws when one is not covered. */
function signedParts(envelope, given) {
  const signed = new SignedXml({ publicCert: hubCertificate(envelope, given).toString(), idMode: "wssecurity" });
  signed.loadSignature(one(envelope, DS, "Signature"));
  if (!signed.checkSignature(envelope)) throw new Error("the hub's signature is wrong");
  const parts = {};
  for (const xml of signed.getSignedReferences()) {
    const root = new DOMParser().parseFromString(xml).documentElement;
    if (root.localName in parts) throw new Error(`${root.localName} is signed twice`);
    parts[root.localName] = root;
  }
  for (const name of ["Body", "Timestamp", "To", "From", "Action", "MessageID"])
    if (!(name in parts)) throw new Error(`the hub did not sign ${name}`);
  return parts;
}

/** The signed parts of an answer. Throws when it does not answer this request. */
function verify(answer, request, given) {
  const parts = signedParts(answer, given);
  if (parts.RelatesTo?.textContent !== one(request, WSA, "MessageID")?.textContent) throw new Error("this answers another message");
  if (parts.SignatureConfirmation?.getAttribute("Value") !== one(request, DS, "SignatureValue").textContent)
    throw new Error("this confirms another signature");
  return parts;
}

async function main(given) {
  if (given.received) return { verified: Object.keys(signedParts(fs.readFileSync(given.received, "utf8"), given)) };
  const httpsAgent = new https.Agent({ ca: fs.readFileSync(given.ca), key: fs.readFileSync(given.key), cert: fs.readFileSync(given.cert) });
  const client = await soap.createClientAsync(given.wsdl, { wsdl_options: { httpsAgent } });
  client.addSoapHeader((_method, _location, action) => addressing(given, action)); // node-soap itself adds no addressing
  const [key, cert] = [fs.readFileSync(given.key), fs.readFileSync(given.cert)];
  const options = given.options ?? EDUKOPPELING;
  client.setSecurity(
    given.token
      ? new soap.WSSecurityCertWithToken({ privateKey: key, publicKey: cert, options })
      : new soap.WSSecurityCert(key, cert, "", options),
  );
  try {
    const [receipt, answer, , request] = await client.proefAsync(given.document, { httpsAgent, timeout: 20_000 });
    const parts = verify(answer, request, given);
    return { receipt, verified: Object.keys(parts), messageId: parts.RelatesTo.textContent };
  } catch (error) {
    const fault = error.root?.Envelope.Body.Fault;
    if (!fault) throw error;
    return { fault, verified: Object.keys(verify(error.body, client.lastRequest, given)) };
  }
}

main(JSON.parse(process.argv[2])).then(
  (said) => console.log(JSON.stringify(said)),
  (error) => {
    console.error(String(error.message ?? error).slice(0, 500));
    process.exitCode = 1;
  },
);
