// What each SDK needs to call this emulator, to be copied.

const shell = (url) => `export AWS_ENDPOINT_URL=${url}\nexport AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1\nexport AWS_ACCESS_KEY_ID=my-pod AWS_SECRET_ACCESS_KEY=any\n`;

export const SDKS = {
  CLI: (url) => `${shell(url)}aws meteringmarketplace register-usage \\\n  --product-code 0abc123example --public-key-version 1\n`,
  Python: (url) => `${shell(url)}# pip install boto3\n# boto3.client("meteringmarketplace")\n`,
  Go: (url) => `${shell(url)}# github.com/aws/aws-sdk-go-v2/service/marketplacemetering\n# marketplacemetering.NewFromConfig(settings)\n`,
  Node: (url) => `${shell(url)}# npm install @aws-sdk/client-marketplace-metering\n# new MarketplaceMeteringClient({})\n`,
  Java: (url) => `${shell(url)}# software.amazon.awssdk:marketplacemetering\n# MarketplaceMeteringClient.create()\n`,
  Rust: (url) => `${shell(url)}# aws-config, aws-sdk-marketplacemetering\n# Client::new(&settings)\n`,
  Sidecar: (url) => `marketplace:\n  mode: emulator\n  endpoint_url: ${url}\n`,
};
