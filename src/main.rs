//! The program; the library beside it holds everything.

fn main() {
    for c in tidewaiter::api::v1alpha1::crds() {
        println!("---\n{}", serde_saphyr::to_string(&c).unwrap());
    }
}
