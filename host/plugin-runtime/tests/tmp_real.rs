#[path = "it/facts.rs"] mod facts;
use std::sync::Arc; use xthonpay_plugin_runtime::*; use xthonpay_payments::port::hooks::*;
struct C; impl xthonpay_payments::port::clock::Clock for C { fn now(&self)->xthonpay_domain::time::Timestamp{facts::NOW} }
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn real() {
  let mut c = RuntimeConfig::default();
  for (n, t) in [("default-rules","config={ tolerance_bps = 50, late='accept' }"),("loyal-shop","config={known_customers=['buyer-3']}"),("xthon-json",""),("standard-webhooks","")] {
    c.plugins.insert(n.into(), toml::from_str(&format!("file='/work/main/target/plugins/{n}.wasm'\n{t}")).unwrap());
  }
  c.bindings.invoice_rules = vec!["default-rules".into(),"loyal-shop".into()];
  c.bindings.webhook_format = Some("xthon-json".into());
  let h = PluginHost::load(c, Arc::new(C)).await.unwrap();
  println!("{:#?}", h.report());
  for r in h.invoice_rules() { println!("{:?} {:?}", r.on_draft(&facts::draft()).await, r.on_payment(&facts::review()).await); }
  let r = h.webhook_format().unwrap().render(&facts::event(), "end_1").await.unwrap().unwrap();
  println!("{} {:?}", String::from_utf8(r.body).unwrap(), r.headers);
  let r = &h.invoice_rules()[0]; let d = facts::draft();
  for _ in 0..2 { let t = tokio::time::Instant::now(); for _ in 0..5000 { r.on_draft(&d).await.unwrap(); } println!("per on_draft {:?}", t.elapsed()/5000); }
}
