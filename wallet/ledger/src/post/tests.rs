use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Books for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BooksError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Row>, BooksError> {
        let rows = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl Memory {
    fn write(&mut self, posting: Posting) {
        self.0.extend(posting.rows);
    }
}

fn transfer(series: &str, number: u64, debit: &str, credit: &str, amount: u128) -> Transfer {
    Transfer {
        id: TransferId { series: series.to_owned(), number },
        debit: AccountId::new(debit),
        credit: AccountId::new(credit),
        amount: AttoFil::new(amount),
    }
}

#[test]
fn money_moves_once_however_often_it_is_posted() {
    let mut books = Memory::default();
    let first = transfer("lane", 1, "owed", "sold", 5);
    for fresh in [1, 0, 0] {
        let posting = post(&books, std::slice::from_ref(&first)).unwrap();
        assert_eq!(posting.fresh, fresh);
        books.write(posting);
    }
    let owed = balance(&books, &AccountId::new("owed")).unwrap();
    assert_eq!((owed.owed_to_us(), owed.owed_by_us()), (AttoFil::new(5), AttoFil::ZERO));
    let second = transfer("lane", 2, "owed", "sold", 7);
    let posting = post(&books, &[first, second.clone(), second]).unwrap();
    assert_eq!(posting.fresh, 1);
    books.write(posting);
    assert_eq!(balance(&books, &AccountId::new("sold")).unwrap().owed_by_us(), AttoFil::new(12));
    assert_eq!(balances(&books, "s").unwrap().len(), 1);
}

#[test]
fn contradictions_are_refused_whole() {
    let mut books = Memory::default();
    let posting = post(&books, &[transfer("lane", 1, "a", "b", 5)]).unwrap();
    books.write(posting);
    let good = transfer("other", 1, "a", "b", 1);
    let conflict = transfer("lane", 1, "a", "b", 6);
    assert!(matches!(post(&books, &[good.clone(), conflict]), Err(PostError::Conflict(_))));
    let loops = transfer("lane", 2, "a", "a", 6);
    assert!(matches!(post(&books, &[loops]), Err(PostError::SameAccount(_))));
    let large = transfer("lane", 2, "a", "b", u128::MAX);
    assert!(matches!(post(&books, &[good, large]), Err(PostError::Overflow(_))));
    let long = transfer("lane", 2, &"x".repeat(300), "b", 1);
    assert!(matches!(post(&books, &[long]), Err(PostError::Name(300))));
}

proptest! {
    #[test]
    fn debits_equal_credits_whatever_happens(
        steps in proptest::collection::vec(
            (0u8..3, 0u64..20, 0u8..4, 0u8..4, any::<u128>(), any::<bool>()), 0..60),
    ) {
        let mut books = Memory::default();
        for batch in steps.chunks(2) {
            let transfers: Vec<_> = batch
                .iter()
                .map(|(s, n, d, c, amount, small)| {
                    let amount = if *small { amount % 1000 } else { *amount };
                    transfer(&s.to_string(), *n, &format!("acc{d}"), &format!("acc{c}"), amount)
                })
                .collect();
            // A crash between deciding and writing loses the whole step, never half of it.
            let crash = batch[0].5 && batch[0].1 == 7;
            if let (Ok(posting), false) = (post(&books, &transfers), crash) {
                books.write(posting);
            }
            let all: Vec<_> = balances(&books, "").unwrap().into_iter().map(|(_, b)| b).collect();
            if let Ok(sum) = totals(&all) {
                prop_assert_eq!(sum.debits, sum.credits);
            }
        }
    }
}
