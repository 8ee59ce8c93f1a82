//! Calls each operation of AWS Marketplace Metering once, and one that must be refused; prints a line for each answer.
//!
//! Arguments: the endpoint, a registration token, and a time in seconds since 1970.

use hyper::client::HttpConnector;
use rusoto_core::{HttpClient, Region, RusotoError};
use rusoto_credential::StaticProvider;
use rusoto_meteringmarketplace::{
    BatchMeterUsageRequest, MarketplaceMetering, MarketplaceMeteringClient, MeterUsageError, MeterUsageRequest,
    RegisterUsageRequest, ResolveCustomerError, ResolveCustomerRequest, UsageRecord,
};

const PRODUCT: &str = "0abc123example";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let timestamp: f64 = arguments[3].parse().unwrap();
    let region = Region::Custom { name: "us-east-1".to_owned(), endpoint: arguments[1].clone() };
    let keys = StaticProvider::new_minimal("AKIARUST".to_owned(), "secret".to_owned());
    let client = MarketplaceMeteringClient::new_with(HttpClient::from_connector(HttpConnector::new()), keys, region);

    let registration = RegisterUsageRequest {
        product_code: PRODUCT.to_owned(),
        public_key_version: 1,
        nonce: Some("nonce".to_owned()),
    };
    let registered = client.register_usage(registration).await.unwrap();
    println!("RegisterUsage {}", registered.signature.unwrap());

    let usage = MeterUsageRequest {
        product_code: PRODUCT.to_owned(),
        timestamp,
        usage_dimension: "requests".to_owned(),
        usage_quantity: Some(7),
        ..Default::default()
    };
    let metered = client.meter_usage(usage.clone()).await.unwrap();
    println!("MeterUsage {}", metered.metering_record_id.unwrap());

    let other = MeterUsageRequest { usage_quantity: Some(8), ..usage };
    match client.meter_usage(other).await {
        Err(RusotoError::Service(MeterUsageError::DuplicateRequest(_))) => println!("MeterUsage DuplicateRequest"),
        answer => panic!("{:?}", answer),
    }

    let record = UsageRecord {
        timestamp,
        customer_identifier: "buyer".to_owned(),
        dimension: "requests".to_owned(),
        quantity: Some(9),
        ..Default::default()
    };
    let batch = BatchMeterUsageRequest { product_code: PRODUCT.to_owned(), usage_records: vec![record] };
    let result = client.batch_meter_usage(batch).await.unwrap().results.unwrap().remove(0);
    println!("BatchMeterUsage {}", result.status.unwrap());

    let resolve = ResolveCustomerRequest { registration_token: arguments[2].clone() };
    let customer = client.resolve_customer(resolve).await.unwrap();
    println!("ResolveCustomer {}", customer.customer_identifier.unwrap());

    let unknown = ResolveCustomerRequest { registration_token: "unknown".to_owned() };
    match client.resolve_customer(unknown).await {
        Err(RusotoError::Service(ResolveCustomerError::InvalidToken(_))) => println!("ResolveCustomer InvalidToken"),
        answer => panic!("{:?}", answer),
    }
}
