//! Uploads on their way into the store.

use pop_gateway::{Intake, Order, UploadError};

use crate::node::Node;

/// Begins an upload.
pub(super) async fn begin(node: &Node, order: Order) -> Result<Box<dyn Intake>, UploadError> {
    let _ = (node, order);
    Err(UploadError::Failed { why: "this node takes no uploads yet".to_owned() })
}
